#include "model/tensor_source.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <numeric>

#include "base/error.h"
#include "base/text.h"
#include "lora/merge_file.h"
#include "quant/formats.h"

namespace realm {

namespace {

constexpr const char *kHead = "output.weight", *kEmbedding = "token_embd.weight";

Shape shape_of(std::initializer_list<int64_t> extents) {
  const std::vector<uint64_t> counts(extents.begin(), extents.end());
  return Shape::checked(counts).value();  // of a configuration, whose numbers are bounded
}

// Writers differ in whether they keep outermost extents of 1.
std::span<const uint64_t> significant(const Shape& shape) {
  auto extents = shape.extents();
  while (!extents.empty() && extents.front() == 1) extents = extents.subspan(1);
  return extents;
}

}  // namespace

std::span<std::byte> StagingMemory::at_least(uint64_t bytes) {
  if (bytes > bytes_) {
    memory_.reset();  // before the larger one is taken
    bytes_ = 0;
    memory_.reset(static_cast<std::byte*>(::operator new(bytes, kAlignment, std::nothrow)));
    if (!memory_) fail(ErrorCode::kOutOfMemory, "cannot allocate ", human_bytes(bytes));
    bytes_ = bytes;
  }
  return {memory_.get(), bytes};
}

TensorSource::TensorSource(std::shared_ptr<const gguf::GgufFile> file, Backend& backend,
                           const LoadOptions& options, const OverlayBase* base)
    : file_(std::move(file)),
      backend_(backend),
      options_(options),
      base_(base),
      pool_(ThreadPool::shared(options.n_threads > 0 ? options.n_threads : usable_processors())),
      taken_(file_->tensors().size(), false) {
  for (const gguf::TensorInfo& info : file_->tensors()) bytes_total_ += info.bytes;
}

bool TensorSource::has(const std::string& name) const {
  const bool is_added = options_.merge && name == kHead && options_.merge->unties();
  return file_->find(name) != nullptr || is_added || merged_bias(name);
}

std::optional<std::vector<float>> TensorSource::merged_bias(const std::string& name) const {
  constexpr std::string_view kBias = ".bias";
  if (!options_.merge || !name.ends_with(kBias)) return std::nullopt;
  return options_.merge->bias(std::string_view(name).substr(0, name.size() - kBias.size()));
}

bool TensorSource::is_merged(const std::string& name) const {
  constexpr std::string_view kWeight = ".weight";
  if (!options_.merge) return false;
  if (!name.ends_with(kWeight)) return merged_bias(name).has_value();
  return options_.merge->changes(std::string_view(name).substr(0, name.size() - kWeight.size()));
}

// Others use the backend of a base.
std::unique_lock<BackendTurns> TensorSource::lock_backend() const {
  return base_ ? std::unique_lock(base_->backend_turns) : std::unique_lock<BackendTurns>();
}

// Decodes, changes and encodes a tensor; the file's own bytes stay as they are.
WeightBytes TensorSource::merged_bytes(const gguf::Rewrite& rewrite, int64_t rows, int64_t cols) {
  const Format& to = format_of(rewrite.to);
  const auto n_bytes = tensor_bytes(to, rewrite.source->shape);
  REALM_CHECK(n_bytes && to.encode, "tensor ", quoted(rewrite.name), " cannot be merged as ",
              to.name, "; name another type");
  const std::span<std::byte> memory = merged_staging_.at_least(*n_bytes);
  auto end = memory.begin();
  gguf::Rewriter rewriter(*file_, *pool_, true, {});
  merged_.push_back(rewriter.run(
      rewrite, [&](std::span<const std::byte> bytes) { end = std::ranges::copy(bytes, end).out; }));
  return {rewrite.to, rows, cols, memory, nullptr};
}

const gguf::TensorInfo& TensorSource::take(const std::string& name, const Shape& needed) {
  const gguf::TensorInfo* info = file_->find(name);
  if (!info) fail(ErrorCode::kFormat, "tensor ", quoted(name), " is missing");
  if (!std::ranges::equal(significant(info->shape), significant(needed))) {
    fail(ErrorCode::kFormat, "tensor ", quoted(name), " has shape ", to_string(info->shape),
         "; this model needs ", to_string(needed));
  }
  taken_[static_cast<size_t>(info - file_->tensors().data())] = true;
  return *info;
}

// The head of a base that ties its ends lies in the embedding.
std::string TensorSource::stored_name(const std::string& name) const {
  return name == kHead && !file_->find(name) ? kEmbedding : name;
}

WeightBytes TensorSource::fetch(const std::string& name, const gguf::TensorInfo& info,
                                const Shape& needed) {
  const auto rows = static_cast<int64_t>(needed.rows());
  const auto cols = static_cast<int64_t>(needed.row_elements());
  if (options_.merge) {
    const auto rewrite = lora::plan_rewrite(*file_, *options_.merge, name, options_.merge_type);
    if (rewrite.change) {
      const WeightBytes merged = merged_bytes(rewrite, rows, cols);
      bytes_ += merged.bytes.size();
      return merged;
    }
  }
  bytes_ += info.bytes;
  if (options_.mapped || backend_.maps_weights())
    return {info.dtype, rows, cols, file_->view(info), file_};
  return {info.dtype, rows, cols, file_->in_memory(info) ? file_->view(info) : stage(info),
          nullptr};
}

// All threads read: one alone copies at a fraction of what the memory can take. A file that was
// shortened since it was opened is an error here, not a signal.
std::span<const std::byte> TensorSource::stage(const gguf::TensorInfo& info) {
  constexpr uint64_t kPiece = uint64_t{1} << 20;
  const std::span<std::byte> bytes = staging_.at_least(info.bytes);
  const auto n_pieces = static_cast<int64_t>((info.bytes + kPiece - 1) / kPiece);
  pool_->run_ranges(n_pieces, 1, [&](int64_t begin, int64_t end) {
    const uint64_t first = static_cast<uint64_t>(begin) * kPiece,
                   last = std::min(static_cast<uint64_t>(end) * kPiece, info.bytes);
    file_->read_at(info, first, bytes.subspan(first, last - first));
  });
  return bytes;
}

void TensorSource::report(uint64_t bytes) {
  bytes_done_ += bytes;
  if (options_.progress && !options_.progress(bytes_done_, bytes_total_)) {
    fail(ErrorCode::kCancelled, "loading was cancelled");
  }
}

TensorSource::Parts TensorSource::load_parts(const WeightBytes& whole,
                                             const std::vector<int64_t>& rows) {
  const uint64_t row_bytes = whole.bytes.size() / static_cast<uint64_t>(whole.rows);
  Parts parts;
  uint64_t offset = 0;
  for (const int64_t n : rows) {
    const uint64_t bytes = static_cast<uint64_t>(n) * row_bytes;
    const auto lock = lock_backend();
    parts.push_back(backend_.load_weight(
        {whole.dtype, n, whole.cols, whole.bytes.subspan(offset, bytes), whole.owner}));
    offset += bytes;
  }
  return parts;
}

const TensorSource::Parts& TensorSource::parts(const std::string& name, const Shape& needed,
                                               const std::vector<int64_t>& rows) {
  Parts& parts = loaded_.matrices[name];
  const std::string stored = stored_name(name);
  const gguf::TensorInfo& info = take(stored, needed);
  report(stored == name ? info.bytes : 0);
  if (base_ && !is_merged(name)) {
    parts = base_->weights.tensors.matrices.at(stored);
  } else {
    parts = load_parts(fetch(name, info, needed), rows);
  }
  return parts;
}

std::shared_ptr<const Weight> TensorSource::matrix(const std::string& name, int64_t rows,
                                                   int64_t cols) {
  return parts(name, shape_of({rows, cols}), {rows}).front();
}

std::shared_ptr<const Weight> TensorSource::bank(const std::string& name, int64_t experts,
                                                 int64_t rows, int64_t cols) {
  return parts(name, shape_of({experts, rows, cols}), {experts * rows}).front();
}

TensorSource::Parts TensorSource::split_matrix(const std::string& name,
                                               const std::vector<int64_t>& rows, int64_t cols) {
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  return parts(name, shape_of({total, cols}), rows);
}

std::vector<float> TensorSource::host_vector(const std::string& name, int64_t n) {
  const gguf::TensorInfo& info = take(name, shape_of({n}));
  std::vector<float> values(static_cast<size_t>(n));
  file_->read_f32(info, values.data());
  if (options_.merge) {
    const auto rewrite = lora::plan_rewrite(*file_, *options_.merge, name, {});
    if (rewrite.change) rewrite.change(0, 1, values.data());
  }
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      fail(ErrorCode::kFormat, "tensor ", quoted(name), ": element ", i, " is ", values[i]);
    }
  }
  bytes_ += info.bytes;
  report(info.bytes);
  return values;
}

Vector TensorSource::vector(const std::string& name, int64_t n) {
  std::shared_ptr<const Buffer>& memory = loaded_.vectors[name];
  if (base_ && !is_merged(name)) {
    report(take(name, shape_of({n})).bytes);
    memory = base_->weights.tensors.vectors.at(name);
  } else {
    const auto added = file_->find(name) ? std::nullopt : merged_bias(name);
    memory = load_vector(added ? *added : host_vector(name, n));
  }
  return {reinterpret_cast<const float*>(memory->data()), n};
}

std::shared_ptr<const Buffer> TensorSource::load_vector(const std::vector<float>& values) {
  const uint64_t bytes = values.size() * sizeof(float);
  const auto lock = lock_backend();
  std::shared_ptr<Buffer> buffer = backend_.allocate(bytes);
  backend_.upload(values.data(), buffer->data(), bytes);
  return buffer;
}

Vector TensorSource::optional_vector(const std::string& name, int64_t n) {
  return has(name) ? vector(name, n) : Vector{};
}

LoadedTensors TensorSource::finish() {
  for (size_t i = 0; i < taken_.size(); ++i) {
    if (!taken_[i]) {
      fail(ErrorCode::kFormat, "tensor ", quoted(file_->tensors()[i].name),
           " has no place in this architecture; computing without it would give wrong answers");
    }
  }
  return std::move(loaded_);
}

}  // namespace realm
