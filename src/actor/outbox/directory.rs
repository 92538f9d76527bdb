//! Owns what a component is told of those to whom it may send.
//!
//! Who that is, is decided where its messages are: by the links that it is granted, and by whom the target receives from.

use std::collections::BTreeSet;

use super::ActorOutbox;
use crate::host::{ComponentInfo, Contact, ContactPage};
use crate::name::InstallationName;

/// Contacts of a page, at most.
const MAX_CONTACTS: usize = 100;
/// Bytes of texts of a page, unless its first contact has more.
const MAX_CONTACT_BYTES: usize = 1 << 20;

impl ActorOutbox {
    pub(super) fn contacts_after(&self, after: Option<&str>, limit: u32) -> ContactPage {
        let most = (limit as usize).clamp(1, MAX_CONTACTS);
        // One more than the page has tells whether there is another one.
        let words = self.words(after, most + 1);
        let (mut contacts, mut bytes) = (Vec::new(), 0);
        for word in &words {
            let Some(contact) = self.contact_of(word) else { continue };
            bytes += size(&contact);
            if contacts.len() >= most || (bytes > MAX_CONTACT_BYTES && !contacts.is_empty()) {
                let next = contacts.last().map(|last: &Contact| last.link.clone());
                return ContactPage { contacts, next };
            }
            contacts.push(contact);
        }
        ContactPage { contacts, next: None }
    }

    pub(super) fn contact_of(&self, word: &str) -> Option<Contact> {
        let installation = self.version.target(word)?;
        let component = self.component_of(&installation);
        Some(Contact { link: word.to_owned(), installation: installation.as_str().to_owned(), component })
    }

    /// The first `most` words behind `after` by which messages can be sent, in their order.
    fn words(&self, after: Option<&str>, most: usize) -> BTreeSet<String> {
        let record = &self.version.record;
        let is_behind = |word: &str| after.is_none_or(|after| word > after);
        let mut words: BTreeSet<String> = record.effective.links().map(|link| link.as_str().to_owned()).collect();
        if record.effective.may_send_to_all() {
            words.extend(record.spec.links.keys().map(|link| link.as_str().to_owned()));
            // The link to an installation is its name unless the file says otherwise.
            words.extend(self.core.registry.names_after(after, most).iter().map(|name| name.as_str().to_owned()));
        }
        words.into_iter().filter(|word| is_behind(word)).take(most).collect()
    }

    fn component_of(&self, name: &InstallationName) -> Option<ComponentInfo> {
        let cell = self.core.registry.get(name)?;
        let version = cell.version().filter(|version| version.receives_from(&self.version.record.spec.name))?;
        let artifact = &version.record.artifact;
        Some(ComponentInfo {
            package: artifact.package.to_string(),
            version: artifact.version.to_string(),
            codecs: artifact.codecs.declared().iter().map(|codec| (*codec).into()).collect(),
            takes_messages: cell.mailbox.takes_messages(),
            metadata: serde_json::to_string(&artifact.metadata).unwrap_or_default(),
        })
    }
}

fn size(contact: &Contact) -> usize {
    let Contact { link, installation, component } = contact;
    let component = component.as_ref().map_or(0, |it| it.package.len() + it.version.len() + it.metadata.len());
    link.len() + installation.len() + component
}
