#include "gguf/requantize.h"

#include <functional>
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

constexpr uint32_t kQuantizationVersion = 2;  // of the block layouts in quant/blocks.h

bool is_quantized(const Format& format) {
  return format.block_elements > 1;
}

// Sums the bytes done and reports them; the message of a cancelled run says how far it came.
class Progress {
 public:
  Progress(const GgufFile& file, const RequantizeOptions& options) : options_(options) {
    for (const TensorInfo& info : file.tensors()) total_ += info.bytes;
  }

  bool operator()(uint64_t bytes) {
    done_ += bytes;
    if (!options_.progress || options_.progress(done_, total_)) return true;
    fail(ErrorCode::kCancelled, "cancelled after ", done_, " of ", total_, " bytes");
  }

 private:
  const RequantizeOptions& options_;
  uint64_t done_ = 0, total_ = 0;
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
  Progress progress(*file, options);
  ThreadPool pool(options.n_threads > 0 ? options.n_threads : usable_processors());
  Rewriter rewriter(*file, pool, options.measure_error, std::ref(progress));
  const auto sink = [&](std::span<const std::byte> bytes) { writer.append(bytes); };
  RequantizeReport report;
  for (size_t i = 0; i < tensors.size(); ++i) {
    report.tensors.push_back(rewriter.run({tensors[i].name, &tensors[i], plan[i], {}}, sink));
    report.bytes_in += report.tensors.back().bytes_in;
    report.bytes_out += report.tensors.back().bytes_out;
  }
  writer.finish();
  return report;
}

}  // namespace realm::gguf
