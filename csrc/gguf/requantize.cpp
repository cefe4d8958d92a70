#include "gguf/requantize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <span>

#include "base/error.h"
#include "base/text.h"
#include "base/thread_pool.h"
#include "gguf/mixes.h"
#include "gguf/reader.h"
#include "gguf/writer.h"
#include "quant/formats.h"

namespace realm::gguf {

namespace {

// Rows are whole blocks in both formats, so a tensor is one run of blocks in each and may be cut
// anywhere that is a multiple of the longest block.
constexpr uint64_t kChunkValues = uint64_t{1} << 17;
constexpr uint64_t kCopyBytes = uint64_t{1} << 20;
constexpr uint32_t kQuantizationVersion = 2;  // of the block layouts in quant/blocks.h

bool is_quantized(const Format& format) {
  return format.block_elements > 1;
}

// One chunk's memory, reused from batch to batch by whichever thread gets the chunk.
struct Chunk {
  std::vector<std::byte> in;
  std::vector<float> values;
  std::vector<std::byte> out;
  std::vector<float> decoded;
  double squared_error = 0;
  double squared_values = 0;
};

struct Task {
  const GgufFile& file;
  const TensorInfo& info;
  const Format& from;
  const Format& to;
  bool measure_error;
};

void check_encodable(const Task& task, std::span<const float> values, uint64_t first_value) {
  const auto bad = std::ranges::find_if(values, [&](float x) { return !is_encodable(task.to, x); });
  if (bad == values.end()) return;
  fail(ErrorCode::kFormat, "tensor ", quoted(task.info.name), ": value #",
       first_value + static_cast<uint64_t>(bad - values.begin()), " is ", *bad, ", which ",
       task.to.name, " cannot hold");
}

// Sums in independent lanes: a single running sum waits for itself at every value.
void measure(const Task& task, Chunk& chunk) {
  constexpr size_t kLanes = 8;
  chunk.decoded.resize(chunk.values.size());
  decode(task.to, chunk.out.data(), chunk.decoded.data(), chunk.decoded.size());
  std::array<double, kLanes> errors{}, values{};
  const auto add = [&](size_t i, size_t lane) {
    const double value = chunk.values[i];
    const double error = chunk.decoded[i] - value;
    errors[lane] += error * error;
    values[lane] += value * value;
  };
  const size_t n_even = chunk.values.size() / kLanes * kLanes;
  for (size_t i = 0; i < n_even; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) add(i + lane, lane);
  }
  for (size_t i = n_even; i < chunk.values.size(); ++i) add(i, 0);
  chunk.squared_error = std::accumulate(errors.begin(), errors.end(), 0.0);
  chunk.squared_values = std::accumulate(values.begin(), values.end(), 0.0);
}

void convert(const Task& task, uint64_t first_value, uint64_t n_values, Chunk& chunk) {
  chunk.in.resize(*encoded_bytes(task.from, n_values));
  chunk.out.resize(*encoded_bytes(task.to, n_values));
  chunk.values.resize(n_values);
  chunk.squared_error = chunk.squared_values = 0;
  task.file.read_at(task.info, *encoded_bytes(task.from, first_value), chunk.in);
  decode(task.from, chunk.in.data(), chunk.values.data(), n_values);
  check_encodable(task, chunk.values, first_value);
  task.to.encode(chunk.values.data(), chunk.out.data(), n_values / task.to.block_elements);
  if (task.measure_error) measure(task, chunk);
}

class Requantizer {
 public:
  Requantizer(const GgufFile& file, Writer& writer, const RequantizeOptions& options)
      : file_(file),
        writer_(writer),
        options_(options),
        pool_(options.n_threads > 0 ? options.n_threads : usable_processors()),
        chunks_(static_cast<size_t>(pool_.n_threads()) * 4) {
    for (const TensorInfo& info : file.tensors()) total_bytes_ += info.bytes;
  }

  RequantizedTensor run(const TensorInfo& info, DType to) {
    RequantizedTensor result{info.name, info.dtype, to, info.shape, info.bytes, info.bytes, 0, 0};
    if (to == info.dtype) {
      copy(info);
    } else {
      encode(info, result);
    }
    return result;
  }

 private:
  void copy(const TensorInfo& info) {
    std::vector<std::byte> buffer(std::min(info.bytes, kCopyBytes));
    for (uint64_t offset = 0; offset < info.bytes; offset += buffer.size()) {
      const uint64_t bytes = std::min<uint64_t>(buffer.size(), info.bytes - offset);
      file_.read_at(info, offset, std::span(buffer).first(bytes));
      writer_.append(std::span(buffer).first(bytes));
      advance(bytes);
    }
  }

  void encode(const TensorInfo& info, RequantizedTensor& result) {
    const Task task{file_, info, format_of(info.dtype), format_of(result.to),
                    options_.measure_error};
    const uint64_t n_values = info.shape.elements();
    result.bytes_out = *encoded_bytes(task.to, n_values);
    double squared_error = 0, squared_values = 0;
    for (uint64_t first = 0; first < n_values; first += chunks_.size() * kChunkValues) {
      uint64_t batch_bytes = 0;
      for (const Chunk& chunk : convert_batch(task, first)) {
        writer_.append(chunk.out);
        squared_error += chunk.squared_error;
        squared_values += chunk.squared_values;
        batch_bytes += chunk.in.size();
      }
      advance(batch_bytes);
    }
    result.rms_error = std::sqrt(squared_error / static_cast<double>(n_values));
    if (squared_values > 0) result.relative_error = std::sqrt(squared_error / squared_values);
  }

  std::span<const Chunk> convert_batch(const Task& task, uint64_t first_value) {
    const uint64_t left = task.info.shape.elements() - first_value;
    const uint64_t n_chunks =
        std::min<uint64_t>(chunks_.size(), (left + kChunkValues - 1) / kChunkValues);
    pool_.run(static_cast<int64_t>(n_chunks), [&](int64_t i) {
      const uint64_t skipped = static_cast<uint64_t>(i) * kChunkValues;
      convert(task, first_value + skipped, std::min(kChunkValues, left - skipped),
              chunks_[static_cast<size_t>(i)]);
    });
    return std::span(chunks_).first(n_chunks);
  }

  void advance(uint64_t bytes) {
    done_bytes_ += bytes;
    if (!options_.progress || options_.progress(done_bytes_, total_bytes_)) return;
    fail(ErrorCode::kCancelled, "cancelled after ", done_bytes_, " of ", total_bytes_, " bytes");
  }

  const GgufFile& file_;
  Writer& writer_;
  const RequantizeOptions& options_;
  ThreadPool pool_;
  std::vector<Chunk> chunks_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

Metadata output_metadata(const Metadata& in, const Mix& mix) {
  Metadata out;
  for (const auto& [key, value] : in) {
    if (!key.starts_with("split.")) out.set(key, value);  // the output is one file
  }
  out.set("general.quantization_version", kQuantizationVersion);
  out.set("general.file_type", mix.file_type);
  return out;
}

void check_conversion(const TensorInfo& info, DType to, bool allow_requantize) {
  const Format& from = format_of(info.dtype);
  const Format& target = format_of(to);
  if (info.dtype == to) return;
  REALM_CHECK(target.encode != nullptr, "weight format ", target.name, " is read, not written");
  REALM_CHECK(allow_requantize || !is_quantized(from) || !is_quantized(target), "tensor ",
              quoted(info.name), " is quantized already (", from.name, " to ", target.name,
              " adds a second error); allow_requantize permits it");
}

const Mix& mix_named(const std::string& target) {
  if (const Mix* mix = find_mix(target)) return *mix;
  std::string names;
  for (const Mix& mix : all_mixes()) names += concat(names.empty() ? "" : ", ", mix.name);
  fail(ErrorCode::kInvalidRequest, "unknown target ", quoted(target), "; known are ", names);
}

}  // namespace

RequantizeReport requantize(const std::string& in_path, const std::string& out_path,
                            const RequantizeOptions& options) {
  const Mix& mix = mix_named(options.target);
  const auto file = GgufFile::open(in_path);
  const auto& tensors = file->tensors();
  const std::vector<DType> plan = plan_mix(mix, options.pure, file->metadata(), tensors);
  Writer writer(out_path, output_metadata(file->metadata(), mix));
  for (size_t i = 0; i < tensors.size(); ++i) {
    check_conversion(tensors[i], plan[i], options.allow_requantize);
    writer.declare({tensors[i].name, plan[i], tensors[i].shape});
  }
  Requantizer requantizer(*file, writer, options);
  RequantizeReport report;
  for (size_t i = 0; i < tensors.size(); ++i) {
    report.tensors.push_back(requantizer.run(tensors[i], plan[i]));
    report.bytes_in += report.tensors.back().bytes_in;
    report.bytes_out += report.tensors.back().bytes_out;
  }
  writer.finish();
  return report;
}

}  // namespace realm::gguf
