// Writing GGUF version 3. A file appears under its name only when it is complete: it is written to
// a temporary file beside the target and renamed by finish(), so a failure leaves the target as it
// was. Tensors lie in the order of declaration, each padded to the alignment, as the reference
// writers do: a file of theirs that is read and written again is the same bytes.
//
// A Writer belongs to one thread at a time; different Writers are independent.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/file.h"
#include "gguf/layout.h"
#include "gguf/metadata.h"

namespace realm::gguf {

// A tensor with its encoded bytes, which the caller keeps alive.
struct TensorData {
  TensorSpec spec;
  std::span<const std::byte> bytes;
};

class Writer {
 public:
  // The alignment is metadata's general.alignment, else 32. The metadata is copied.
  // Throws kInvalidRequest if a value cannot be written, kIo if the temporary file cannot be made.
  Writer(const std::string& path, Metadata metadata);

  // Declares the next tensor. All of them come before the first append(). Throws kInvalidRequest
  // for a name, rank or row length that a file cannot hold.
  void declare(TensorSpec spec);
  // The next bytes of tensor data in declaration order; one call stays within one tensor and may
  // hold any part of it. Throws kIo when the disk is full.
  void append(std::span<const std::byte> bytes);
  // Completes the file and gives it its name, replacing what was there. Throws kInvalidRequest if
  // declared data is missing. Without it the destructor removes the temporary file.
  void finish();

 private:
  void write_header_once();
  void end_tensor();

  Layout layout_;
  OutputFile file_;
  size_t current_ = 0;          // tensor that the next byte belongs to
  uint64_t current_bytes_ = 0;  // of it already written
  bool header_written_ = false;
};

// The whole file at once.
void write_gguf(const std::string& path, const Metadata& metadata,
                std::span<const TensorData> tensors);
// The same bytes in memory.
std::vector<std::byte> gguf_bytes(const Metadata& metadata, std::span<const TensorData> tensors);

}  // namespace realm::gguf
