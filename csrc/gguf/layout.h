// Where everything lies in a GGUF file that is to be written: offsets, padding and the bytes of the
// header. Pure bookkeeping, so that the file writer and the in-memory one cannot differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "gguf/metadata.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace realm::gguf {

struct TensorSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;  // outermost extent first
};

class Layout {
 public:
  // The alignment is the metadata's general.alignment, else 32. Throws kInvalidRequest if it is not
  // one that a reader accepts.
  explicit Layout(Metadata metadata);

  // The next tensor, placed behind the ones before. Throws kInvalidRequest for a name, rank or row
  // length that a file cannot hold, or a name used before.
  void add(TensorSpec spec);

  size_t n_tensors() const { return tensors_.size(); }
  const std::string& name_of(size_t i) const { return tensors_[i].spec.name; }
  uint64_t bytes_of(size_t i) const { return tensors_[i].bytes; }
  // Zeros that follow a tensor of that many bytes.
  uint64_t padding(uint64_t bytes) const;

  // Everything up to the first tensor's data.
  std::vector<std::byte> header() const;

 private:
  struct Placed {
    TensorSpec spec;
    uint64_t offset;  // from the start of the data section
    uint64_t bytes;
  };

  Metadata metadata_;
  uint32_t alignment_;
  std::vector<Placed> tensors_;
  std::set<std::string, std::less<>> names_;
  uint64_t data_bytes_ = 0;
};

}  // namespace realm::gguf
