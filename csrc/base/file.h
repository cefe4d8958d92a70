// Reading files that others own, and writing our own. `File` reads by position and survives
// truncation: bytes that are gone are an error, never a signal. `MappedFile` gives zero-copy views
// and cannot promise that: if another process shortens the file, touching a lost page ends this one
// (docs say so wherever a mapping is offered). Both are immutable after opening and safe to share
// between threads. `OutputFile` makes a file that appears under its name only when it is complete.
// Paths are UTF-8 on Windows, and what the system takes elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace realm {

class File {
 public:
  // Opens for reading. Throws kIo if the system refuses, kFormat if the path is not a regular file.
  explicit File(const std::string& path);
  ~File();
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  const std::string& path() const { return path_; }
  // Size when opened; later growth is ignored, later loss shows as a kFormat error from read_at.
  uint64_t size() const { return size_; }
  // Fills `out` from `offset`. Throws kFormat if the file ends before `out` is full.
  void read_at(uint64_t offset, std::span<std::byte> out) const;

 private:
  friend class MappedFile;
  std::string path_;
  uint64_t size_ = 0;
  std::intptr_t handle_ = -1;  // a descriptor, or a HANDLE of Windows
};

class MappedFile {
 public:
  explicit MappedFile(const File& file);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

class OutputFile {
 public:
  // Creates a temporary file beside `path`, in the same folder. Throws kIo.
  explicit OutputFile(const std::string& path);
  // Removes the temporary file unless commit() has been called.
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  const std::string& path() const { return path_; }
  // Bytes written so far.
  uint64_t size() const { return size_; }
  // Appends. Throws kIo, with ENOSPC when the disk is full.
  void write(std::span<const std::byte> bytes);
  // Waits until the bytes are on the disk, then renames the file to path(), replacing what was
  // there (a symbolic link is replaced itself). Nothing can be written afterwards.
  void commit();

 private:
  std::string path_;
  std::string temporary_path_;
  uint64_t size_ = 0;
  std::intptr_t handle_ = -1;  // a descriptor, or a HANDLE of Windows
};

}  // namespace realm
