#include "lora/merge_file.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "gguf/writer.h"
#include "quant/formats.h"

namespace realm::lora {

namespace {

constexpr std::string_view kWeight = ".weight", kBias = ".bias";
constexpr const char* kHead = "output.weight";

std::string_view stem_of(std::string_view name, std::string_view ending) {
  return name.ends_with(ending) ? name.substr(0, name.size() - ending.size()) : std::string_view();
}

void check_writable(const gguf::Rewrite& rewrite) {
  const Format& to = format_of(rewrite.to);
  REALM_CHECK(to.encode != nullptr, "tensor ", quoted(rewrite.name), " is to be written as ",
              to.name, ", which is read, not written: name another type");
  REALM_CHECK(tensor_bytes(to, rewrite.source->shape), "tensor ", quoted(rewrite.name), " ",
              to_string(rewrite.source->shape), " has no whole blocks of ", to.name);
}

class FileMerger {
 public:
  FileMerger(const gguf::GgufFile& in, const Merge& merge, const MergeOptions& options)
      : in_(in), merge_(merge), options_(options) {
    for (const gguf::TensorInfo& info : in.tensors()) total_ += info.bytes;
  }

  MergeReport run(const std::string& out_path) {
    plan();
    gguf::Metadata metadata;
    for (const auto& [key, value] : in_.metadata()) {
      if (!key.starts_with("split.")) metadata.set(key, value);  // the output is one file
    }
    gguf::Writer writer(out_path, std::move(metadata));
    for (const gguf::Rewrite& one : rewrites_)
      writer.declare({one.name, one.to, one.source->shape});
    for (const NewBias& one : biases_) writer.declare({one.name, DType::kF32, {one.values.size()}});
    ThreadPool pool(options_.n_threads > 0 ? options_.n_threads : usable_processors());
    gguf::Rewriter rewriter(in_, pool, true, [this](uint64_t bytes) { return advance(bytes); });
    const auto sink = [&](std::span<const std::byte> bytes) { writer.append(bytes); };
    for (const gguf::Rewrite& one : rewrites_) {
      gguf::RequantizedTensor result = rewriter.run(one, sink);
      if (one.change) {
        report_.tensors.push_back(std::move(result));
      } else {
        ++report_.n_copied;
      }
    }
    for (const NewBias& one : biases_) writer.append(std::as_bytes(std::span(one.values)));
    writer.finish();
    return std::move(report_);
  }

 private:
  struct NewBias {
    std::string name;
    std::vector<float> values;
  };

  void plan() {
    for (const gguf::TensorInfo& info : in_.tensors()) add(info.name);
    if (merge_.unties()) add(kHead);
    for (const std::string& stem : merge_.changed_biases()) {
      const std::string name = stem + std::string(kBias);
      if (!in_.find(name)) biases_.push_back({name, *merge_.bias(stem)});
    }
  }

  void add(const std::string& name) {
    rewrites_.push_back(plan_rewrite(in_, merge_, name, options_.type));
    if (rewrites_.back().change) check_writable(rewrites_.back());
  }

  bool advance(uint64_t bytes) {
    done_ += bytes;
    return !options_.progress || options_.progress(std::min(done_, total_), total_);
  }

  const gguf::GgufFile& in_;
  const Merge& merge_;
  const MergeOptions& options_;
  std::vector<gguf::Rewrite> rewrites_;
  std::vector<NewBias> biases_;  // of tensors that had none
  MergeReport report_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

gguf::Rewrite plan_rewrite(const gguf::GgufFile& in, const Merge& merge, const std::string& name,
                           const std::optional<DType>& type) {
  const gguf::TensorInfo* info = in.find(name);
  std::string stem(stem_of(name, kWeight));
  if (!info)
    info = in.find(merge.base().tensors()[*merge.base().find(stem)].values_name() +
                   std::string(kWeight));
  gguf::Rewrite rewrite{name, info, info->dtype, {}};
  if (!stem.empty() && merge.changes(stem)) {
    const BaseTensor& tensor = merge.base().tensors()[*merge.base().find(stem)];
    if (type && tensor.kind != BaseKind::kVector) rewrite.to = *type;
    const auto width = static_cast<int64_t>(info->shape.row_elements());
    // A vector is one row of the file and many of the layout.
    const int64_t factor = width / tensor.cols;
    rewrite.change = [&merge, stem, factor](uint64_t first, uint64_t n, float* values) {
      merge.apply(stem, static_cast<int64_t>(first) * factor, static_cast<int64_t>(n) * factor,
                  values);
    };
  } else if (const auto bias = merge.bias(stem_of(name, kBias)); bias) {
    rewrite.change = [values = *bias](uint64_t, uint64_t, float* out) {
      std::ranges::copy(values, out);
    };
  }
  return rewrite;
}

MergeReport merge_to_file(const gguf::GgufFile& in, const Merge& merge, const std::string& out_path,
                          const MergeOptions& options) {
  return FileMerger(in, merge, options).run(out_path);
}

}  // namespace realm::lora
