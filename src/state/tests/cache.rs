//! The code cache: what is loaded is what was written here, or nothing.

use std::fs;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::*;
use super::fixture::*;
use crate::digest::Digest;
use crate::home::Home;

fn key(wasm: &str, engine: &str) -> CacheKey {
    CacheKey { wasm: Digest::of(wasm.as_bytes()), engine: Digest::of(engine.as_bytes()) }
}

fn cache_files(home: &Home) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(home.state_dir().join("cache")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

fn assert_refused(store: &Store, key: &CacheKey, context: &str) {
    assert!(matches!(store.cache().get(key), CacheLookup::Refused(_)), "{context}");
    // The entry is gone: removing happens in the order of the commands.
    store.mark_good(0).wait().unwrap();
    assert!(matches!(store.cache().get(key), CacheLookup::Miss), "{context}");
}

fn code_of(lookup: CacheLookup) -> Vec<u8> {
    let CacheLookup::Hit(code) = lookup else { panic!("{lookup:?}") };
    let mut bytes = vec![0; usize::try_from(code.code_bytes()).unwrap()];
    code.file().read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

#[test]
fn code_comes_back_as_it_was_put_also_after_a_restart() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let code: Vec<u8> = (0..700_000u32).map(|n| n.to_le_bytes()[0]).collect();
    assert!(matches!(opened.store.cache().get(&key("w", "e")), CacheLookup::Miss));
    opened.store.cache().put(&key("w", "e"), code.clone()).wait().unwrap();
    opened.store.cache().put(&key("empty", "e"), Vec::new()).wait().unwrap();
    assert_eq!(code_of(opened.store.cache().get(&key("w", "e"))), code);
    assert_eq!(code_of(opened.store.cache().get(&key("empty", "e"))), b"");
    drop(opened);
    let opened = open(&home);
    let lookup = opened.store.cache().get(&key("w", "e"));
    let CacheLookup::Hit(found) = &lookup else { panic!("{lookup:?}") };
    // What the path opens is the checked file, whatever the directory holds by now.
    fs::remove_file(&cache_files(&home)[1]).unwrap();
    fs::remove_file(&cache_files(&home)[0]).unwrap();
    assert_eq!(fs::read(found.path()).unwrap()[..code.len()], code);
    assert_eq!(code_of(lookup), code);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(crate::test_scale::cases(100)))]

    /// T22.
    #[test]
    fn a_flipped_bit_or_a_cut_of_cached_code_is_never_loaded(
        size in 0..3000usize, at in any::<prop::sample::Index>(), bit in 0..8u32, cut in any::<bool>(),
    ) {
        let temp = temp_dir();
        let home = home_in(&temp);
        let opened = open(&home);
        opened.store.cache().put(&key("w", "e"), vec![0x55; size]).wait().unwrap();
        let path = &cache_files(&home)[0];
        let mut bytes = fs::read(path).unwrap();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        fs::write(path, bytes).unwrap();
        assert_refused(&opened.store, &key("w", "e"), "flipped or cut");
    }
}

/// T22.
#[test]
fn swapped_foreign_and_linked_cache_files_are_never_loaded() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let store = &opened.store;
    let (a, b) = (key("a", "e"), key("b", "e"));
    // The name holds only a part of the engine's digest; the MAC holds all of it.
    let mut other_engine = *a.engine.as_bytes();
    other_engine[31] ^= 1;
    let other = CacheKey { wasm: a.wasm, engine: Digest::from_bytes(other_engine) };
    let put = |key: &CacheKey| store.cache().put(key, format!("{key:?}").into_bytes()).wait().unwrap();
    let path_of = |key: &CacheKey| {
        put(key);
        let hex = key.wasm.hex();
        cache_files(&home).into_iter().find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(&hex)).unwrap()
    };
    let (path, other_path) = (path_of(&a), path_of(&b));
    fs::copy(&other_path, &path).unwrap();
    assert_refused(store, &a, "another wasm's code");
    put(&a);
    assert_refused(store, &other, "another engine's code");
    for mode in [0o640, 0o604, 0o666, 0o620] {
        put(&a);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_refused(store, &a, "a mode that others can use");
    }
    put(&a);
    let kept = temp.path().join("kept");
    fs::hard_link(&path, &kept).unwrap();
    assert_refused(store, &a, "a second name");
    put(&a);
    fs::rename(&path, temp.path().join("moved")).unwrap();
    symlink(temp.path().join("moved"), &path).unwrap();
    assert_refused(store, &a, "a symlink to a right file");
    if rustix::process::geteuid().is_root() {
        put(&a);
        chown(&path, Some(65534), None).unwrap();
        assert_refused(store, &a, "another owner");
    } else {
        eprintln!("not run: needs root, to give a file away");
    }
    put(&a);
    assert!(matches!(store.cache().get(&a), CacheLookup::Hit(_)));
}

#[test]
fn a_cache_key_that_others_may_know_is_replaced_and_old_code_is_never_loaded() {
    type Spoil = fn(&std::path::Path);
    let spoil: [(&str, Spoil); 4] = [
        ("mode", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o640)).unwrap()),
        ("length", |path| fs::write(path, [0; 31]).unwrap()),
        ("missing", |path| fs::remove_file(path).unwrap()),
        ("symlink", |path| {
            let elsewhere = path.with_file_name("elsewhere");
            fs::rename(path, &elsewhere).unwrap();
            symlink(elsewhere, path).unwrap();
        }),
    ];
    for (how, spoil) in spoil {
        let temp = temp_dir();
        let home = home_in(&temp);
        open(&home).store.cache().put(&key("w", "e"), vec![1; 100]).wait().unwrap();
        let path = home.state_dir().join("cache-key");
        let before = fs::read(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        spoil(&path);
        let opened = open(&home);
        let after = fs::read(&path).unwrap();
        assert!(after.len() == 32 && after != before, "{how}");
        assert_eq!(fs::symlink_metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600, "{how}");
        assert_refused(&opened.store, &key("w", "e"), how);
    }
}

#[test]
fn a_cache_directory_of_another_owner_is_refused_at_the_start() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: needs root, to give a directory away");
        return;
    }
    let temp = temp_dir();
    let home = lived_in_home(&temp);
    chown(home.state_dir().join("cache"), Some(65534), None).unwrap();
    let error = open_error(&home, options());
    assert!(error.to_string().contains("belongs to uid 65534"), "{error}");
}

#[test]
fn the_oldest_code_goes_when_the_cache_is_full() {
    use super::super::cache::{CacheCommand, CacheWriter};

    let temp = temp_dir();
    let home = home_in(&temp);
    drop(open(&home));
    let disk = super::super::disk::Disk::new(None);
    let mut writer = CacheWriter::with_limits(Arc::new(Layout::new(home.state_dir())), 0, 10 * 1032);
    for number in 0..40 {
        let (answer, reply) = reply::channel();
        let name = format!("{number:02}");
        writer.carry_out(&disk, CacheCommand::Put { name, code: vec![0; 1000], mac: [0; 32], answer });
        reply.wait().unwrap();
        let held: u64 = cache_files(&home).iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(held <= 10 * 1032, "{held}");
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let names: Vec<_> =
        cache_files(&home).iter().map(|p| p.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names.first().map(String::as_str), Some("30"));
    assert_eq!(names.last().map(String::as_str), Some("39"));
}

#[test]
fn cached_code_leaves_the_space_that_the_state_needs() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = Store::open(&home, Options { kept_bytes: u64::MAX, ..options() }).unwrap_or_else(|e| panic!("{e}"));
    let error = opened.store.cache().put(&key("w", "e"), vec![0; 10]).wait().unwrap_err();
    assert!(matches!(error, StateError::NoRoom { .. }), "{error}");
}

/// The layout rests on this: the engine maps a file from its start and does not mind what follows the code.
#[test]
fn wasmtime_maps_cached_code_that_is_followed_by_a_mac() {
    let temp = temp_dir();
    let home = home_in(&temp);
    let opened = open(&home);
    let engine = wasmtime::Engine::default();
    let code = engine.precompile_component(b"(component)").or_else(|_| {
        engine.precompile_component(&wat::parse_str("(component (core module (func (export \"f\"))))").unwrap())
    });
    opened.store.cache().put(&key("w", "e"), code.unwrap()).wait().unwrap();
    let CacheLookup::Hit(found) = opened.store.cache().get(&key("w", "e")) else { panic!("no hit") };
    // SAFETY: the MAC says that this test wrote the code, with this engine.
    let component = unsafe { wasmtime::component::Component::deserialize_file(&engine, found.path()) };
    component.unwrap();
}
