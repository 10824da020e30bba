//! `maniac_init_c_api`, which DuckDB calls once per database instance.
//!
//! Everything that needs the database handle happens here: the handle that the loader passes is freed when this
//! function returns, so a connection opened from it later would read freed memory. Hence a pool, opened now.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use libduckdb_sys as ffi;

use super::{Loans, Session, exit, python};
use crate::functions;
use crate::instance::{Instance, MIRROR_LIMIT, OWN_SESSIONS};

/// The stable C API that the binary is built against; the footer of the file names the same.
const API_VERSION: &CStr = c"v1.2.0";

/// Older hosts load the binary and then crash in table functions.
const OLDEST_HOST: (u32, u32) = (1, 5);

/// Loads the extension into one database instance.
///
/// # Safety
/// To be called by DuckDB's extension loader alone, with the arguments that its C extension API promises.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn maniac_init_c_api(
    info: ffi::duckdb_extension_info,
    access: *const ffi::duckdb_extension_access,
) -> bool {
    // SAFETY: the loader passes valid pointers that live until this function returns.
    let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { load(info, access) }));
    let message = match outcome {
        Ok(Ok(())) => return true,
        Ok(Err(message)) => message,
        Err(_) => "maniac: the extension panicked while it was loaded; this is a defect".to_string(),
    };
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: as above; DuckDB copies the message.
    unsafe {
        if let Some(set_error) = (*access).set_error {
            set_error(info, text.as_ptr());
        }
    }
    false
}

/// # Safety
/// As `maniac_init_c_api`.
unsafe fn load(info: ffi::duckdb_extension_info, access: *const ffi::duckdb_extension_access) -> Result<(), String> {
    // SAFETY: the pointers are valid for the whole call, and the function table that `get_api` returns is a static of
    // the host whose leading, stable part has not changed since the version asked for. The version is read through
    // that part alone before anything else of the table is touched.
    unsafe {
        let get_api = (*access).get_api.ok_or("maniac: this DuckDB offers no C extension API")?;
        let get_database = (*access).get_database.ok_or("maniac: this DuckDB offers no C extension API")?;
        let api = get_api(info, API_VERSION.as_ptr()) as *const ffi::duckdb_ext_api_v1;
        if api.is_null() {
            // The host has set the error itself.
            return Err("maniac: this DuckDB does not offer version v1.2.0 of the C extension API".to_string());
        }
        let version = (*api).duckdb_library_version.ok_or("maniac: this DuckDB does not tell its version")?;
        let version = CStr::from_ptr(version()).to_string_lossy().into_owned();
        check_host(&version)?;
        ffi::duckdb_rs_extension_api_init(info, access, "v1.2.0").map_err(str::to_string)?;

        let database = *get_database(info);
        let loans = Arc::new(Loans::default());
        let mut sessions = Vec::with_capacity(MIRROR_LIMIT + OWN_SESSIONS);
        for _ in 0..MIRROR_LIMIT + OWN_SESSIONS {
            let mut connection: ffi::duckdb_connection = std::ptr::null_mut();
            if ffi::duckdb_connect(database, &mut connection) != ffi::duckdb_state_DuckDBSuccess {
                return Err("maniac: DuckDB refused a connection to the extension".to_string());
            }
            sessions.push(Session::adopt(connection, loans.clone()));
        }
        exit::watch();
        python::watch();
        let registrar = sessions.pop().ok_or("maniac: no connection to register functions with")?;
        let instance = Instance::start(sessions, loans).map_err(|e| format!("maniac: {e}"))?;
        functions::register_all(&registrar, &instance).map_err(|e| format!("maniac: {e}"))?;
        instance.keep(registrar);
        Ok(())
    }
}

/// Refuses a host that is too old. Development builds carry other version texts (a hash); those are let in.
fn check_host(version: &str) -> Result<(), String> {
    let mut numbers = version.trim_start_matches('v').split(['.', '-']).map(str::parse::<u32>);
    let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else { return Ok(()) };
    if (major, minor) >= OLDEST_HOST {
        return Ok(());
    }
    Err(format!(
        "maniac needs DuckDB {}.{} or newer, and this is {version}: upgrade DuckDB (for example: pip install -U duckdb)",
        OLDEST_HOST.0, OLDEST_HOST.1
    ))
}

#[cfg(test)]
mod tests {
    use super::check_host;

    #[test]
    fn old_hosts_are_refused_with_their_version() {
        assert!(check_host("v1.4.4").unwrap_err().contains("v1.4.4"));
        assert!(check_host("v0.10.2").is_err());
    }

    #[test]
    fn new_and_unversioned_hosts_are_let_in() {
        for version in ["v1.5.0", "v1.5.5", "1.10.0", "v2.0.0", "v1.5.6-dev12", "b390a7c376"] {
            assert_eq!(check_host(version), Ok(()), "{version}");
        }
    }
}
