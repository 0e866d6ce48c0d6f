//! The folder of the append-only file: which files there are, and in what order they come about. What
//! waits for the disk ([`Folder::next_increment`], [`Folder::keep_base`]) is done to a copy on another
//! thread, which takes the place of the engine's when it is done; the engine goes on writing meanwhile.
//!
//! ```text
//!   a rewrite is asked for     the increment is created, and the manifest names it      thread
//!   it begins                  the engine writes on in that                             at once
//!   its base is complete       the manifest names base and increment; old files go      thread
//! ```
//! Wherever this ends, the manifest names what makes up all of the data: an increment that nothing was
//! written into yet adds nothing.
//!
//! The increment before may not be on disk when the engine goes over to the next, and after a loss of
//! power may lack its end while the next has its beginning. So an increment says at its head, in a line
//! that readers skip, how long the one before was ([`follows`]): what follows upon a gap is not read.

use super::manifest::{Manifest, Part};
use super::new_file::{NewFile, sync_folder_of};
use crate::node::Core;
use crate::store::rdb::RdbWriter;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What the first line of an increment begins with.
const FOLLOWS: &str = "#follows ";
/// Bytes that such a line has at most.
const FIRST_LINE_MAX: u64 = 40;

/// The first line of an increment, where the one before has so many bytes.
pub(super) fn follows(bytes: u64) -> String {
    format!("{FOLLOWS}{bytes}\r\n")
}

/// How long the increment before was, if an increment that begins like this says so.
pub(super) fn length_before(start: &[u8]) -> Option<u64> {
    let line = start.split(|byte| *byte == b'\n').next()?;
    let line = std::str::from_utf8(line).ok()?.trim_end_matches('\r');
    line.strip_prefix(FOLLOWS)?.parse().ok()
}

/// See above.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
    stem: String,
    manifest: Manifest,
    /// Its files are all of the data: what is added to them can be read after a crash.
    complete: bool,
}

impl Folder {
    /// The folder of the node whose parameters these are, as its manifest says; empty if there is none.
    pub(super) fn open(core: &Core) -> io::Result<Self> {
        // CONFIG SET dir moves what is begun later, and not what is open.
        let path = std::path::absolute(core.parameter("appenddirname"))?;
        Self::open_at(path, core.parameter("appendfilename"))
    }

    fn open_at(path: PathBuf, stem: String) -> io::Result<Self> {
        let mut folder = Self { path, stem, manifest: Manifest::default(), complete: false };
        match std::fs::read_to_string(folder.manifest_path()) {
            Ok(text) => {
                folder.manifest = Manifest::parse(&text).map_err(io::Error::other)?;
                folder.finish_adoption()?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder.adopt_single_file()?,
            Err(error) => return Err(error),
        }
        Ok(folder)
    }

    /// A file from before there were manifests becomes the base.
    fn adopt_single_file(&mut self) -> io::Result<()> {
        if !Path::new(&self.stem).is_file() {
            return Ok(());
        }
        std::fs::create_dir_all(&self.path)?;
        self.manifest.base = Some(Part { name: self.stem.clone(), seq: 1 });
        // The manifest first: should this end here, the next start goes on with it.
        self.save_manifest()?;
        self.finish_adoption()?;
        tracing::info!("Successfully migrated an old-style AOF");
        Ok(())
    }

    fn finish_adoption(&self) -> io::Result<()> {
        let adopted = self.manifest.base.as_ref().is_some_and(|base| base.name == self.stem);
        let place = self.path.join(&self.stem);
        if adopted && !place.exists() && Path::new(&self.stem).is_file() {
            std::fs::rename(&self.stem, place)?;
        }
        Ok(())
    }

    fn manifest_path(&self) -> PathBuf {
        self.path.join(format!("{}.manifest", self.stem))
    }

    fn save_manifest(&self) -> io::Result<()> {
        let path = self.manifest_path();
        let beside = self.path.join(format!("temp-{}.manifest", self.stem));
        let mut file = File::create(&beside)?;
        file.write_all(self.manifest.to_text().as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)?;
        sync_folder_of(&path)
    }

    /// The files to be read, in order.
    pub(super) fn parts(&self) -> Vec<PathBuf> {
        let parts = self.manifest.base.iter().chain(&self.manifest.increments);
        parts.map(|part| self.path.join(&part.name)).collect()
    }

    /// The first of the increments that follow upon a gap: the one before it is shorter than it was.
    pub(super) fn first_after_gap(&self) -> io::Result<Option<usize>> {
        for (index, pair) in self.manifest.increments.windows(2).enumerate() {
            let paths = [0, 1].map(|n: usize| self.path.join(&pair[n].name));
            let length = std::fs::metadata(&paths[0])?.len();
            let mut start = Vec::new();
            File::open(&paths[1])?.take(FIRST_LINE_MAX).read_to_end(&mut start)?;
            if length_before(&start).is_some_and(|was| was > length) {
                return Ok(Some(index + 1));
            }
        }
        Ok(None)
    }

    /// Takes the increments from this one on out of the manifest, if it `may`, and gives the files names
    /// of their own, which it returns. Waits for the disk.
    pub(super) fn set_aside(&mut self, first: usize, may: bool) -> io::Result<Vec<String>> {
        let rest = &self.manifest.increments[first..];
        let names: Vec<String> = rest.iter().map(|part| part.name.clone()).collect();
        if !may {
            return Err(io::Error::other(format!(
                "{} does not follow upon what is before it: the power went, or somebody has cut the \
                 end off. If it is to be left out, set the 'aof-load-truncated' configuration option \
                 to yes and restart the server.",
                names[0]
            )));
        }
        let aside: Vec<String> = names.iter().map(|name| format!("{name}.after-gap")).collect();
        for (name, aside) in names.iter().zip(&aside) {
            match std::fs::hard_link(self.path.join(name), self.path.join(aside)) {
                // From a start that did not come to its end.
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        self.manifest.increments.truncate(first);
        self.save_manifest()?;
        for name in &names {
            std::fs::remove_file(self.path.join(name))?;
        }
        Ok(aside)
    }

    /// Whether it holds anything.
    pub(super) fn is_empty(&self) -> bool {
        self.manifest.base.is_none() && self.manifest.increments.is_empty()
    }

    /// Whether its files are all of the data.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// All of them have been read: they are all of the data.
    pub(super) fn was_read(&mut self) {
        self.complete = true;
    }

    /// The last increment, to be written on, and whether another stands before it.
    pub(super) fn last_increment(&self) -> io::Result<Option<(File, bool)>> {
        let Some(last) = self.manifest.increments.last() else { return Ok(None) };
        let file = OpenOptions::new().append(true).open(self.path.join(&last.name))?;
        Ok(Some((file, self.manifest.increments.len() > 1)))
    }

    /// The first base, of no keys, and the first increment. Waits for the disk. Returns the increment,
    /// and how large the base is.
    ///
    /// # Errors
    /// The folder is as it was, but for files that no manifest names.
    pub(super) fn begin_empty(&mut self) -> io::Result<(File, u64)> {
        let mut bytes = Vec::new();
        let mut writer = RdbWriter::new(false, true);
        writer.begin(&mut bytes);
        writer.aux(&mut bytes, "aof-base", b"1");
        writer.end(&mut bytes);
        let mut file = self.new_base()?;
        file.write(&bytes)?;
        file.keep()?;
        let increment = self.next_increment()?;
        // One manifest names both.
        Ok((increment, self.keep_base(true)?))
    }

    /// A further increment: what is written into it is not in the base that is made next. Waits for the
    /// disk.
    ///
    /// # Errors
    /// The manifest names what it named before.
    pub(super) fn next_increment(&mut self) -> io::Result<File> {
        std::fs::create_dir_all(&self.path)?;
        let part = self.manifest.next_increment(&self.stem);
        let path = self.path.join(&part.name);
        let file = OpenOptions::new().create(true).truncate(true).write(true).open(path)?;
        self.manifest.increments.push(part);
        // Before the first base is there it would be read as if it were all of the data.
        if self.complete {
            self.save_manifest().inspect_err(|_| drop(self.manifest.increments.pop()))?;
        }
        Ok(file)
    }

    /// The file that the next base is to be written to.
    pub(super) fn new_base(&self) -> io::Result<NewFile> {
        std::fs::create_dir_all(&self.path)?;
        NewFile::create(&self.path.join(self.manifest.next_base(&self.stem).name))
    }

    /// The next base is complete: it stands for all but the latest increment, or for that as well if
    /// none `goes_on`. Waits for the disk. Returns how large the base is.
    ///
    /// # Errors
    /// Either the files before are all of the data, or these are.
    pub(super) fn keep_base(&mut self, goes_on: bool) -> io::Result<u64> {
        let base = self.manifest.next_base(&self.stem);
        let size = std::fs::metadata(self.path.join(&base.name))?.len();
        let before = self.manifest.clone();
        let latest = self.manifest.increments.pop().filter(|_| goes_on);
        self.manifest = Manifest { base: Some(base), ..Manifest::default() };
        self.manifest.increments.extend(latest);
        self.save_manifest()?;
        self.complete = true;
        for part in before.base.iter().chain(&before.increments).chain(&before.history) {
            if self.manifest.increments.contains(part) {
                continue;
            }
            if let Err(error) = std::fs::remove_file(self.path.join(&part.name)) {
                tracing::warn!(%error, file = part.name, "a file nobody needs stays");
            }
        }
        Ok(size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &tempfile::TempDir) -> Folder {
        Folder::open_at(folder.path().join("log"), "stem.aof".to_owned()).expect("it reads")
    }

    /// What a start would read of the increments.
    fn read(folder: &tempfile::TempDir) -> String {
        let opened = open(folder);
        assert_eq!(opened.first_after_gap().expect("it reads"), None, "nothing is missing");
        let increments = opened.parts().into_iter();
        let bytes: Vec<u8> = increments
            .filter(|path| path.extension().is_some_and(|extension| extension == "aof"))
            .flat_map(|path| std::fs::read(path).expect("the manifest names what is there"))
            .collect();
        String::from_utf8(bytes).expect("text")
    }

    fn write(mut file: &File, text: &str) {
        file.write_all(text.as_bytes()).expect("a write");
    }

    fn put_base(folder: &Folder) {
        let mut base = folder.new_base().expect("a file");
        base.write(b"base").and_then(|()| base.keep()).expect("a base");
    }

    #[test]
    fn wherever_a_rewrite_ends_everything_that_was_written_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = open(&folder);
        assert!(log.is_empty());
        let (first, _) = log.begin_empty().expect("a base and an increment");
        write(&first, "one ");
        assert_eq!(read(&folder), "one ");

        // The file is there, and the manifest does not name it: it is made anew.
        std::fs::write(folder.path().join("log/stem.aof.2.incr.aof"), "left").expect("a file");
        assert_eq!(read(&folder), "one ");
        let mut prepared = log.clone();
        let second = prepared.next_increment().expect("an increment");
        // It is named, and the engine still writes the one before.
        write(&first, "two ");
        assert_eq!(read(&folder), "one two ");
        log = prepared;
        // The rewrite begins.
        write(&second, &follows(8));
        assert_eq!(read(&folder), format!("one two {}", follows(8)));
        write(&second, "three ");
        put_base(&log);
        assert_eq!(read(&folder), format!("one two {}three ", follows(8)), "the base is not kept");
        let mut kept = log.clone();
        assert_eq!(kept.keep_base(true).expect("a manifest"), 4);
        write(&second, "four");
        assert_eq!(read(&folder), format!("{}three four", follows(8)));
        let files = std::fs::read_dir(folder.path().join("log")).expect("the folder").count();
        assert_eq!(files, 3, "base, increment and manifest");
    }

    #[test]
    fn what_is_written_before_the_first_base_is_not_all_of_the_data() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = open(&folder);
        write(&log.next_increment().expect("an increment"), "one");
        assert!(open(&folder).is_empty());
        put_base(&log);
        assert!(open(&folder).is_empty());
        log.keep_base(true).expect("a manifest");
        assert_eq!(read(&folder), "one");
        log.keep_base(false).expect_err("there is no such base");
        put_base(&log);
        log.keep_base(false).expect("a manifest");
        assert_eq!(read(&folder), "");
        assert!(!open(&folder).is_empty());
    }

    #[test]
    fn what_follows_upon_a_gap_is_kept_and_not_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = open(&folder);
        let (first, _) = log.begin_empty().expect("a base and an increment");
        write(&first, "one two");
        write(&log.next_increment().expect("an increment"), &format!("{}three", follows(7)));
        write(&log.next_increment().expect("an increment"), &format!("{}four", follows(17)));
        assert_eq!(open(&folder).first_after_gap().expect("it reads"), None);
        // Not all of the first was on disk when the power went.
        first.set_len(4).expect("it can be cut");
        let mut found = open(&folder);
        let gap = found.first_after_gap().expect("it reads").expect("a gap");
        found.set_aside(gap, false).expect_err("it may not");
        let aside = found.set_aside(gap, true).expect("a manifest");
        assert_eq!(aside, ["stem.aof.2.incr.aof.after-gap", "stem.aof.3.incr.aof.after-gap"]);
        assert_eq!(read(&folder), "one ");
        let kept = std::fs::read_to_string(folder.path().join("log").join(&aside[0]));
        assert_eq!(kept.expect("it is there"), format!("{}three", follows(7)));
    }
}
