//! Tests of logs: from a written line to a read one.

use super::*;
