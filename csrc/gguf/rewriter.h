// Tensors of a file, one after another, decoded, perhaps changed, and encoded again: what the file
// quantizer and adapter merging share. Works in chunks on a pool, in memory that does not grow with
// the tensor, and measures what the encoding cost. One thread at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "gguf/reader.h"
#include "tensor/dtype.h"

namespace realm::gguf {

struct RequantizedTensor {
  std::string name;
  DType from = DType::kF32;
  DType to = DType::kF32;
  Shape shape;
  uint64_t bytes_in = 0;
  uint64_t bytes_out = 0;
  // sqrt(mean((out - in)^2)) of the decoded values, and that over sqrt(mean(in^2)), where `in` has
  // been changed already. 0 when the tensor was copied or nothing was measured.
  double rms_error = 0;
  double relative_error = 0;
};

struct Rewrite {
  std::string name;  // of the output
  const TensorInfo* source;
  DType to;
  // Changes the decoded values of some whole rows in place; empty: none. Called from many threads.
  std::function<void(uint64_t first_row, uint64_t n_rows, float* values)> change;
};

class Rewriter {
 public:
  // Bytes of input done; false cancels.
  using Advance = std::function<bool(uint64_t bytes)>;
  using Sink = std::function<void(std::span<const std::byte>)>;

  Rewriter(const GgufFile& file, ThreadPool& pool, bool measure_error, Advance advance);

  // Gives the output's bytes to `sink` in order, on the calling thread. Bytes that stay as they are
  // are copied. Throws kFormat for values that the new format cannot hold, kCancelled.
  RequantizedTensor run(const Rewrite& rewrite, const Sink& sink);

 private:
  // One chunk's memory, reused from batch to batch by whichever thread gets the chunk.
  struct Chunk {
    std::vector<std::byte> in;
    std::vector<float> values;
    std::vector<std::byte> out;
    std::vector<float> decoded;
    double squared_error = 0;
    double squared_values = 0;
  };

  void copy(const TensorInfo& info, const Sink& sink);
  void encode(const Rewrite& rewrite, const Sink& sink, RequantizedTensor& result);
  std::span<const Chunk> convert_batch(const Rewrite& rewrite, uint64_t first_row,
                                       uint64_t rows_per_chunk);
  void convert(const Rewrite& rewrite, uint64_t first_row, uint64_t n_rows, Chunk& chunk) const;
  void advance(uint64_t bytes);

  const GgufFile& file_;
  ThreadPool& pool_;
  const bool measure_error_;
  const Advance advance_;
  std::vector<Chunk> chunks_;
};

}  // namespace realm::gguf
