// Opening GGUF files (version 2 and 3, little-endian, one file or split in parts). Everything is
// validated before anything is exposed: every number of the header is checked before it is used,
// every tensor lies inside its file, whole, aligned and alone. What the metadata *means* is
// validated by those who use it.
//
// Refusals are realm::Error kFormat with the field, its value and the byte offset. The memory used
// is in proportion to the header; tensor data is read when asked for, by position, so that a file
// truncated after it was opened is an error and never a signal. view() alone is a mapping, with a
// mapping's risk.
//
// A GgufFile never changes after construction: share it between threads freely.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf/limits.h"
#include "gguf/metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace realm::gguf {

class Part;

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;          // outermost extent first, the reverse of the file's order
  uint64_t offset = 0;  // of the first byte, from the start of the part's file
  uint64_t bytes = 0;
  uint32_t part = 0;  // which file of a split model

  bool operator==(const TensorInfo& other) const = default;
};

class GgufFile {
 public:
  // Opens a file; the first part of a split model opens all of them. Throws kIo, kFormat.
  static std::shared_ptr<const GgufFile> open(const std::string& path);
  // Reads a file held in memory, without a copy. `owner` is kept alive as long as the result; it
  // may be null if the caller keeps `bytes` alive. Throws kFormat.
  static std::shared_ptr<const GgufFile> from_bytes(std::span<const std::byte> bytes,
                                                    std::shared_ptr<const void> owner);
  ~GgufFile();

  uint32_t version() const { return version_; }
  uint32_t alignment() const { return alignment_; }
  // Of the first part. A vocabulary-only file has metadata and no tensors.
  const Metadata& metadata() const { return metadata_; }
  // In file order, part after part.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  // Null when there is none of that name.
  const TensorInfo* find(std::string_view name) const;
  // Size of all parts together.
  uint64_t file_bytes() const;

  // The functions below take a TensorInfo of this file.

  // The encoded bytes; `out` must be info.bytes long. Throws kFormat if the file lost them since.
  void read(const TensorInfo& info, std::span<std::byte> out) const;
  // The encoded bytes from `offset` within the tensor.
  void read_at(const TensorInfo& info, uint64_t offset, std::span<std::byte> out) const;
  // The decoded values, info.shape.elements() of them; reads in chunks of about a megabyte.
  void read_f32(const TensorInfo& info, float* out) const;
  void read_rows_f32(const TensorInfo& info, uint64_t first_row, uint64_t n_rows, float* out) const;

  // Whether the file was given as bytes, so that view() costs and risks nothing.
  bool in_memory(const TensorInfo& info) const;
  // The encoded bytes in place, alive as long as this object. The first call for a file on disk
  // maps it: if another process then shortens the file, touching the view ends this process
  // (SIGBUS).
  std::span<const std::byte> view(const TensorInfo& info) const;

 private:
  GgufFile() = default;
  void adopt_first(std::unique_ptr<Part> part);
  void adopt_siblings(const std::string& path);
  void index_names();

  uint32_t version_ = 0;
  uint32_t alignment_ = 0;
  Metadata metadata_;
  std::vector<TensorInfo> tensors_;
  std::vector<uint32_t> by_name_;  // positions in tensors_, sorted: names cannot be made to collide
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace realm::gguf
