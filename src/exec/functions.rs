//! Libraries of functions, as data: their code and what their functions say about themselves.
//!
//! The script host keeps what it compiled of them by [`FunctionId`]. Whatever takes libraries away notes the ids of
//! their functions in [`Libraries::dropped`], for the host to forget.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use smallvec::SmallVec;

use super::declared::ScriptFlags;
use super::error::CmdError;

/// The number of a function, which it keeps as long as its library stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(usize);

impl FunctionId {
    /// The number itself; small numbers are used again.
    pub fn index(self) -> usize {
        self.0
    }
}

/// A function as its library registered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Letters, digits and underscores.
    pub name: Box<str>,
    /// What it is for.
    pub description: Option<Box<[u8]>>,
    /// What it says about itself.
    pub flags: ScriptFlags,
}

impl Function {
    fn size(&self) -> usize {
        let description = self.description.as_ref().map_or(0, |d| d.len());
        // The name is the key of the index, too.
        size_of::<Function>() + self.name.len() * 2 + description
    }
}

/// A library.
#[derive(Debug, Clone)]
pub struct Library {
    /// Its whole code, the first line included.
    pub code: Arc<[u8]>,
    /// Its functions, in the order in which they were registered.
    pub functions: Vec<FunctionId>,
}

/// What becomes of libraries that are there when others come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// They stay, and a name that is taken is an error.
    Append,
    /// Those of the same names go.
    Replace,
    /// All go.
    Flush,
}

/// Which functions got which numbers: (number among those that came, number now).
pub type Renumbered = Vec<(FunctionId, FunctionId)>;

/// All libraries.
#[derive(Debug, Default)]
pub struct Libraries {
    libraries: BTreeMap<Box<str>, Library>,
    functions: Vec<Option<Function>>,
    /// By name in lower case.
    ids: BTreeMap<Box<[u8]>, FunctionId>,
    free: Vec<FunctionId>,
    bytes: usize,
    /// Functions that are gone, of which the script host does not know yet.
    pub dropped: Vec<FunctionId>,
    /// Bytes that the interpreter of functions uses, as of the last call.
    pub interpreter: usize,
}

/// Whether a library or function may have this name.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// Names of functions are compared in lower case.
fn folded(name: &[u8]) -> SmallVec<[u8; 32]> {
    name.iter().map(u8::to_ascii_lowercase).collect()
}

fn function_exists(name: &str) -> CmdError {
    CmdError::new(format!("ERR Function {name} already exists"))
}

impl Libraries {
    /// A function, by its name in any case.
    pub fn find(&self, name: &[u8]) -> Option<(FunctionId, &Function)> {
        let id = *self.ids.get(&folded(name)[..])?;
        Some((id, self.function(id)?))
    }

    /// A function, by its number.
    pub fn function(&self, id: FunctionId) -> Option<&Function> {
        self.functions.get(id.0)?.as_ref()
    }

    /// A library.
    pub fn get(&self, name: &[u8]) -> Option<&Library> {
        self.libraries.get(std::str::from_utf8(name).ok()?)
    }

    /// Every library with its name, in order of names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Library)> {
        self.libraries
            .iter()
            .map(|(name, library)| (&**name, library))
    }

    /// Number of libraries.
    pub fn len(&self) -> usize {
        self.libraries.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.libraries.is_empty()
    }

    /// Number of functions.
    pub fn functions(&self) -> usize {
        self.ids.len()
    }

    /// Bytes of the code and of what is known about the functions.
    pub fn memory(&self) -> usize {
        self.bytes
    }

    /// Adds a library whose name is free. Its functions get the next numbers, in order, if none was given back.
    ///
    /// # Errors
    /// A function of that name exists. Then nothing is added.
    pub fn add(
        &mut self,
        name: &str,
        code: &[u8],
        functions: Vec<Function>,
    ) -> Result<(), CmdError> {
        if let Some(taken) = functions
            .iter()
            .find(|f| self.find(f.name.as_bytes()).is_some())
        {
            return Err(function_exists(&taken.name));
        }
        let functions = functions
            .into_iter()
            .map(|f| self.add_function(f))
            .collect();
        let code = code.into();
        self.link(name.into(), Library { code, functions });
        Ok(())
    }

    /// Takes in all libraries of `other`, or none.
    ///
    /// # Errors
    /// The name of a library or of a function is taken, by what the policy lets stay.
    pub fn join(&mut self, other: Libraries, policy: Policy) -> Result<Renumbered, CmdError> {
        self.check(&other, policy)?;
        if policy == Policy::Flush {
            self.flush();
        }
        let mut renumbered = Renumbered::with_capacity(other.functions());
        let Libraries {
            libraries,
            mut functions,
            ..
        } = other;
        for (name, mut library) in libraries {
            self.delete(name.as_bytes());
            for id in &mut library.functions {
                if let Some(function) = functions.get_mut(id.0).and_then(Option::take) {
                    let now = self.add_function(function);
                    renumbered.push((std::mem::replace(id, now), now));
                }
            }
            self.link(name, library);
        }
        Ok(renumbered)
    }

    fn check(&self, other: &Libraries, policy: Policy) -> Result<(), CmdError> {
        let mut going: HashSet<FunctionId> = HashSet::new();
        if policy != Policy::Flush {
            for name in other.libraries.keys() {
                match self.libraries.get(name) {
                    Some(_) if policy == Policy::Append => {
                        return Err(CmdError::new(format!("ERR Library {name} already exists")));
                    }
                    Some(library) => going.extend(&library.functions),
                    None => {}
                }
            }
            for name in other.iter().flat_map(|(_, library)| other.names(library)) {
                if self
                    .find(name.as_bytes())
                    .is_some_and(|(id, _)| !going.contains(&id))
                {
                    return Err(function_exists(name));
                }
            }
        }
        Ok(())
    }

    fn names<'a>(&'a self, library: &'a Library) -> impl Iterator<Item = &'a str> {
        library
            .functions
            .iter()
            .filter_map(|&id| Some(&*self.function(id)?.name))
    }

    fn link(&mut self, name: Box<str>, library: Library) {
        self.bytes += library_size(&name, &library);
        self.libraries.insert(name, library);
    }

    fn add_function(&mut self, function: Function) -> FunctionId {
        self.bytes += function.size();
        let name = folded(function.name.as_bytes());
        let id = match self.free.pop() {
            Some(id) => id,
            None => {
                self.functions.push(None);
                FunctionId(self.functions.len() - 1)
            }
        };
        if let Some(place) = self.functions.get_mut(id.0) {
            *place = Some(function);
        }
        self.ids.insert(name.to_vec().into(), id);
        id
    }

    /// Deletes a library with its functions; returns whether there was one.
    pub fn delete(&mut self, name: &[u8]) -> bool {
        let Ok(name) = std::str::from_utf8(name) else {
            return false;
        };
        let Some((name, library)) = self.libraries.remove_entry(name) else {
            return false;
        };
        self.bytes -= library_size(&name, &library);
        for id in library.functions {
            if let Some(function) = self.functions.get_mut(id.0).and_then(Option::take) {
                self.bytes -= function.size();
                self.ids.remove(&folded(function.name.as_bytes())[..]);
                self.free.push(id);
                self.dropped.push(id);
            }
        }
        true
    }

    /// Deletes all libraries.
    pub fn flush(&mut self) {
        self.dropped.extend(self.ids.values());
        self.libraries.clear();
        self.functions.clear();
        self.ids.clear();
        self.free.clear();
        self.bytes = 0;
    }
}

fn library_size(name: &str, library: &Library) -> usize {
    size_of::<Library>() + name.len() + library.code.len() + size_of_val(&library.functions[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn function(name: &str) -> Function {
        Function {
            name: name.into(),
            description: Some(b"what it does"[..].into()),
            flags: ScriptFlags::NO_WRITES,
        }
    }

    fn libraries(all: &[(&str, &[&str])]) -> Libraries {
        let mut libraries = Libraries::default();
        for (name, functions) in all {
            let functions = functions.iter().map(|f| function(f)).collect();
            libraries.add(name, name.as_bytes(), functions).unwrap();
        }
        libraries
    }

    /// What is there: each library with its functions, which must be found, and with as many bytes as were counted.
    fn contents(libraries: &Libraries) -> Vec<String> {
        let mut bytes = 0;
        let mut all = Vec::new();
        for (name, library) in libraries.iter() {
            bytes += library_size(name, library);
            let mut line = format!("{name}:");
            for &id in &library.functions {
                let function = libraries.function(id).unwrap();
                bytes += function.size();
                let shouted = function.name.to_ascii_uppercase();
                assert_eq!(libraries.find(shouted.as_bytes()).unwrap().0, id);
                line.push_str(&format!(" {}", function.name));
            }
            all.push(line);
        }
        assert_eq!(libraries.memory(), bytes);
        all
    }

    #[test]
    fn names_are_letters_digits_and_underscores() {
        for (name, good) in [
            ("a", true),
            ("_1Z", true),
            ("", false),
            ("a-b", false),
            ("ä", false),
            ("a\0", false),
        ] {
            assert_eq!(is_name(name.as_bytes()), good, "{name:?}");
        }
    }

    #[test]
    fn functions_are_found_in_any_case_and_libraries_are_not() {
        let all = libraries(&[("lib", &["one", "Two"])]);
        assert_eq!(contents(&all), ["lib: one Two"]);
        assert!(all.get(b"lib").is_some() && all.get(b"LIB").is_none());
        assert!(all.find(b"three").is_none() && all.find(b"\xff").is_none());
    }

    #[test]
    fn a_taken_name_adds_nothing() {
        let mut all = libraries(&[("a", &["f"])]);
        let error = all
            .add("b", b"", vec![function("g"), function("F")])
            .unwrap_err();
        assert_eq!(error.text(), "ERR Function F already exists");
        assert_eq!(contents(&all), ["a: f"]);
    }

    #[test]
    fn joining_is_all_or_nothing() {
        let new = || libraries(&[("b", &["g", "h"]), ("c", &["i"])]);
        for (before, policy, outcome, after) in [
            (
                libraries(&[("a", &["f"])]),
                Policy::Append,
                Ok(()),
                &["a: f", "b: g h", "c: i"][..],
            ),
            (
                libraries(&[("b", &["f"])]),
                Policy::Append,
                Err("ERR Library b already exists"),
                &["b: f"],
            ),
            (
                libraries(&[("b", &["f"])]),
                Policy::Replace,
                Ok(()),
                &["b: g h", "c: i"],
            ),
            (
                libraries(&[("a", &["I"]), ("b", &["f"])]),
                Policy::Replace,
                Err("ERR Function i already exists"),
                &["a: I", "b: f"],
            ),
            (
                libraries(&[("a", &["i"])]),
                Policy::Append,
                Err("ERR Function i already exists"),
                &["a: i"],
            ),
            (
                libraries(&[("b", &["h", "g"])]),
                Policy::Replace,
                Ok(()),
                &["b: g h", "c: i"],
            ),
            (
                libraries(&[("a", &["i"]), ("b", &["f"])]),
                Policy::Flush,
                Ok(()),
                &["b: g h", "c: i"],
            ),
        ] {
            let mut all = before;
            let joined = all.join(new(), policy).map(|_| ());
            let refused = joined.as_ref().err().map(CmdError::text);
            assert_eq!(refused, outcome.err());
            assert_eq!(contents(&all), after);
        }
    }

    #[test]
    fn numbers_are_told_and_used_again() {
        let mut all = libraries(&[("a", &["f", "g"]), ("b", &["h"])]);
        let of = |all: &Libraries, name: &str| all.find(name.as_bytes()).unwrap().0;
        let h = of(&all, "h");
        assert!(all.delete(b"a") && !all.delete(b"a"));
        assert_eq!(all.dropped.len(), 2);
        let renumbered = all
            .join(libraries(&[("c", &["x", "y", "z"])]), Policy::Append)
            .unwrap();
        let wanted: Vec<_> = ["x", "y", "z"]
            .iter()
            .enumerate()
            .map(|(i, f)| (FunctionId(i), of(&all, f)))
            .collect();
        assert_eq!(renumbered, wanted);
        assert_eq!(of(&all, "h"), h);
        assert_eq!(all.functions.len(), 4);
        all.flush();
        assert_eq!(
            (all.dropped.len(), all.memory(), all.functions()),
            (6, 0, 0)
        );
    }
}
