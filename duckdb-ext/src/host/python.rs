//! Python's own end, which comes before the process's.
//!
//! While its interpreter is finalized, Python kills every thread that asks for its lock. DuckDB's module asks for it
//! whenever a table is not found (it looks for a variable of that name), and DuckLake looks for tables that are not there
//! with every commit: a mirror that commits in that moment takes the process down ("FATAL: exception not rethrown").
//! Callbacks of the module `atexit` run before that, so one of them holds our threads still.
//!
//! Python is reached through symbols that its process has, if it is one; nothing is linked.

#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem;
use std::ptr;
use std::sync::Once;

use super::exit;

/// A `PyObject *`.
type Object = *mut c_void;
type Callback = unsafe extern "C" fn(Object, Object) -> Object;

/// `PyMethodDef`, as all versions of Python 3 have it.
#[repr(C)]
struct MethodDef {
    name: *const c_char,
    method: Callback,
    flags: c_int,
    doc: *const c_char,
}

// SAFETY: the pointers are to constants.
unsafe impl Sync for MethodDef {}

const METH_NOARGS: c_int = 4;

static METHOD: MethodDef =
    MethodDef { name: c"maniac_stop".as_ptr(), method: at_end, flags: METH_NOARGS, doc: ptr::null() };

/// Registers the callback, once per process, if the process is Python's. Fails silently: the exit hooks remain.
pub fn watch() {
    static ONCE: Once = Once::new();
    // SAFETY: the functions have the signatures of Python's stable ABI; `Ensure` may be called with or without the lock,
    // and is paired with `Release`. References that are owned are given back.
    ONCE.call_once(|| unsafe {
        let _ = register();
    });
}

/// # Safety
/// The process's Python, if there is one, has the stable ABI of Python 3.9 or later.
unsafe fn register() -> Option<()> {
    // SAFETY: each symbol is cast to the signature that Python documents for it.
    unsafe {
        let is_initialized: unsafe extern "C" fn() -> c_int = mem::transmute(symbol(c"Py_IsInitialized")?);
        if is_initialized() == 0 {
            return None;
        }
        let ensure: unsafe extern "C" fn() -> c_int = mem::transmute(symbol(c"PyGILState_Ensure")?);
        let release: unsafe extern "C" fn(c_int) = mem::transmute(symbol(c"PyGILState_Release")?);
        let new_function: unsafe extern "C" fn(*const MethodDef, Object, Object) -> Object =
            mem::transmute(symbol(c"PyCFunction_NewEx")?);
        let import: unsafe extern "C" fn(*const c_char) -> Object = mem::transmute(symbol(c"PyImport_ImportModule")?);
        let attribute: unsafe extern "C" fn(Object, *const c_char) -> Object =
            mem::transmute(symbol(c"PyObject_GetAttrString")?);
        let call: unsafe extern "C" fn(Object, Object) -> Object = mem::transmute(symbol(c"PyObject_CallOneArg")?);
        let give_back: unsafe extern "C" fn(Object) = mem::transmute(symbol(c"Py_DecRef")?);
        let clear_error: unsafe extern "C" fn() = mem::transmute(symbol(c"PyErr_Clear")?);

        let lock = ensure();
        let module = import(c"atexit".as_ptr());
        if !module.is_null() {
            let add = attribute(module, c"register".as_ptr());
            let function = new_function(&raw const METHOD, ptr::null_mut(), ptr::null_mut());
            if !add.is_null() && !function.is_null() {
                give_back(call(add, function));
            }
            give_back(function);
            give_back(add);
            give_back(module);
        }
        clear_error();
        release(lock);
        Some(())
    }
}

/// Called by Python, with its lock held. The lock is given up while we wait, since the work under way may ask for it.
unsafe extern "C" fn at_end(_: Object, _: Object) -> Object {
    // SAFETY: as in `register`; the thread state that `save` returns is restored before Python goes on. Returning null
    // without an error set is never reached, since a process that called this has these symbols.
    unsafe {
        let Some((save, restore, build)) = symbol(c"PyEval_SaveThread")
            .and_then(|save| Some((save, symbol(c"PyEval_RestoreThread")?, symbol(c"PyBool_FromLong")?)))
        else {
            return ptr::null_mut();
        };
        let save: unsafe extern "C" fn() -> *mut c_void = mem::transmute(save);
        let restore: unsafe extern "C" fn(*mut c_void) = mem::transmute(restore);
        let build: unsafe extern "C" fn(std::ffi::c_long) -> Object = mem::transmute(build);
        let state = save();
        exit::end();
        restore(state);
        build(1)
    }
}

/// A function that the process has.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name ends with NUL.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}
