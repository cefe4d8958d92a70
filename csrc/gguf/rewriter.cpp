#include "gguf/rewriter.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "quant/formats.h"

namespace realm::gguf {

namespace {

// Chunks are whole rows of about this many values, or one longer row.
constexpr uint64_t kChunkValues = uint64_t{1} << 17;
constexpr uint64_t kCopyBytes = uint64_t{1} << 20;

void check_encodable(const Rewrite& rewrite, const Format& to, std::span<const float> values,
                     uint64_t first_value) {
  const uint64_t bad = first_unencodable(to, values.data(), values.size());
  if (bad == values.size()) return;
  fail(ErrorCode::kFormat, "tensor ", quoted(rewrite.name), ": value #", first_value + bad, " is ",
       values[bad], ", which ", to.name, " cannot hold");
}

struct Sums {
  double squared_error, squared_values;
};

// In independent lanes: a single running sum waits for itself at every value.
Sums measure(std::span<const float> values, std::span<const float> decoded) {
  constexpr size_t kLanes = 8;
  std::array<double, kLanes> errors{}, squares{};
  const auto add = [&](size_t i, size_t lane) {
    const double value = values[i];
    const double error = decoded[i] - value;
    errors[lane] += error * error;
    squares[lane] += value * value;
  };
  const size_t n_even = values.size() / kLanes * kLanes;
  for (size_t i = 0; i < n_even; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(i + lane, lane);
  }
  for (size_t i = n_even; i < values.size(); ++i) add(i, 0);
  return {std::accumulate(errors.begin(), errors.end(), 0.0),
          std::accumulate(squares.begin(), squares.end(), 0.0)};
}

}  // namespace

Rewriter::Rewriter(const GgufFile& file, ThreadPool& pool, bool measure_error, Advance advance)
    : file_(file),
      pool_(pool),
      measure_error_(measure_error),
      advance_(std::move(advance)),
      chunks_(static_cast<size_t>(pool.n_threads()) * 4) {}

RequantizedTensor Rewriter::run(const Rewrite& rewrite, const Sink& sink) {
  const TensorInfo& info = *rewrite.source;
  RequantizedTensor result{rewrite.name, info.dtype, rewrite.to, info.shape,
                           info.bytes,   info.bytes, 0,          0};
  if (rewrite.to == info.dtype && !rewrite.change) {
    copy(info, sink);
  } else {
    encode(rewrite, sink, result);
  }
  return result;
}

void Rewriter::copy(const TensorInfo& info, const Sink& sink) {
  std::vector<std::byte> buffer(std::min(info.bytes, kCopyBytes));
  for (uint64_t offset = 0; offset < info.bytes; offset += buffer.size()) {
    const uint64_t bytes = std::min<uint64_t>(buffer.size(), info.bytes - offset);
    file_.read_at(info, offset, std::span(buffer).first(bytes));
    sink(std::span(buffer).first(bytes));
    advance(bytes);
  }
}

void Rewriter::encode(const Rewrite& rewrite, const Sink& sink, RequantizedTensor& result) {
  const Shape& shape = rewrite.source->shape;
  result.bytes_out = *encoded_bytes(format_of(rewrite.to), shape.elements());
  const uint64_t rows_per_chunk = std::max<uint64_t>(1, kChunkValues / shape.row_elements());
  double squared_error = 0, squared_values = 0;
  for (uint64_t first = 0; first < shape.rows(); first += chunks_.size() * rows_per_chunk) {
    uint64_t batch_bytes = 0;
    for (const Chunk& chunk : convert_batch(rewrite, first, rows_per_chunk)) {
      sink(chunk.out);
      squared_error += chunk.squared_error;
      squared_values += chunk.squared_values;
      batch_bytes += chunk.in.size();
    }
    advance(batch_bytes);
  }
  result.rms_error = std::sqrt(squared_error / static_cast<double>(shape.elements()));
  if (squared_values > 0) result.relative_error = std::sqrt(squared_error / squared_values);
}

std::span<const Rewriter::Chunk> Rewriter::convert_batch(const Rewrite& rewrite, uint64_t first_row,
                                                         uint64_t rows_per_chunk) {
  const uint64_t left = rewrite.source->shape.rows() - first_row;
  const uint64_t n_chunks =
      std::min<uint64_t>(chunks_.size(), (left + rows_per_chunk - 1) / rows_per_chunk);
  pool_.run(static_cast<int64_t>(n_chunks), [&](int64_t i) {
    const uint64_t skipped = static_cast<uint64_t>(i) * rows_per_chunk;
    convert(rewrite, first_row + skipped, std::min(rows_per_chunk, left - skipped),
            chunks_[static_cast<size_t>(i)]);
  });
  return std::span(chunks_).first(n_chunks);
}

void Rewriter::convert(const Rewrite& rewrite, uint64_t first_row, uint64_t n_rows,
                       Chunk& chunk) const {
  const TensorInfo& info = *rewrite.source;
  const Format &from = format_of(info.dtype), &to = format_of(rewrite.to);
  const uint64_t cols = info.shape.row_elements(), n_values = n_rows * cols;
  chunk.in.resize(*encoded_bytes(from, n_values));
  chunk.out.resize(*encoded_bytes(to, n_values));
  chunk.values.resize(n_values);
  chunk.squared_error = chunk.squared_values = 0;
  file_.read_at(info, *encoded_bytes(from, first_row * cols), chunk.in);
  decode(from, chunk.in.data(), chunk.values.data(), n_values);
  if (rewrite.change) rewrite.change(first_row, n_rows, chunk.values.data());
  check_encodable(rewrite, to, chunk.values, first_row * cols);
  to.encode(chunk.values.data(), chunk.out.data(), n_values / to.block_elements);
  if (!measure_error_) return;
  chunk.decoded.resize(n_values);
  decode(to, chunk.out.data(), chunk.decoded.data(), n_values);
  const Sums sums = measure(chunk.values, chunk.decoded);
  chunk.squared_error = sums.squared_error;
  chunk.squared_values = sums.squared_values;
}

void Rewriter::advance(uint64_t bytes) {
  if (advance_ && !advance_(bytes)) fail(ErrorCode::kCancelled, "the caller cancelled the work");
}

}  // namespace realm::gguf
