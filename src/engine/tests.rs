//! Tests of compiling and linking.
