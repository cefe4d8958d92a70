#include "lora/adapter.h"

#include <algorithm>
#include <cstring>
#include <tuple>

#include "base/float_rows.h"
#include "base/thread_pool.h"

namespace realm::lora {

namespace {

uint64_t element_bytes(DType dtype) {
  return dtype == DType::kF32 ? 4 : 2;
}

void update(Sha256& hash, const Factor& factor) {
  hash.update_number(static_cast<uint32_t>(factor.dtype()));
  hash.update_number(factor.rows());
  hash.update_number(factor.cols());
  hash.update({factor.data(), factor.bytes()});
}

void update(Sha256& hash, const std::vector<float>& values) {
  hash.update_number(uint64_t{values.size()});
  hash.update(std::as_bytes(std::span(values)));
}

void update(Sha256& hash, const BaseTensor& tensor, int64_t expert) {
  hash.update_number(uint64_t{tensor.name.size()});
  hash.update(tensor.name);
  hash.update_number(expert);
}

Sha256Digest digest_of(const Delta& delta, const BaseLayout& base) {
  Sha256 hash;
  hash.update("delta");
  update(hash, base.tensors()[delta.tensor], delta.expert);
  hash.update_number(delta.scale);
  update(hash, delta.right);
  update(hash, delta.left);
  update(hash, delta.gain);
  update(hash, delta.bias);
  return hash.finish();
}

Sha256Digest digest_of(const Saved& saved, const BaseLayout& base) {
  Sha256 hash;
  hash.update("saved");
  update(hash, base.tensors()[saved.tensor], saved.expert);
  update(hash, saved.weight);
  return hash.finish();
}

}  // namespace

Factor::Factor(DType dtype, int64_t rows, int64_t cols)
    : dtype_(dtype),
      rows_(rows),
      cols_(cols),
      data_(std::make_unique_for_overwrite<std::byte[]>(bytes())) {}

uint64_t Factor::bytes() const {
  return static_cast<uint64_t>(rows_ * cols_) * element_bytes(dtype_);
}

void Factor::read_row(int64_t row, float* out) const {
  read(row, 0, cols_, out);
}

void Factor::read(int64_t row, int64_t first_col, int64_t n_cols, float* out) const {
  const auto n = static_cast<size_t>(n_cols);
  const std::byte* in =
      data_.get() + static_cast<uint64_t>(row * cols_ + first_col) * element_bytes(dtype_);
  if (dtype_ == DType::kF32) {
    std::memcpy(out, in, n * sizeof(float));
    return;
  }
  const auto* halves = reinterpret_cast<const uint16_t*>(in);
  (dtype_ == DType::kF16 ? float_rows().widen_f16 : float_rows().widen_bf16)(halves, out, n_cols);
}

std::shared_ptr<const Adapter> Adapter::without_values() const {
  const std::shared_ptr<Adapter> out(new Adapter);
  for (const Delta& d : deltas_) {
    out->deltas_.push_back({d.tensor, d.expert, d.rank, d.scale, {}, {}, {}, d.gain, d.bias});
  }
  for (const Saved& one : saved_) out->saved_.push_back({one.tensor, one.expert, {}});
  out->report_ = report_;
  out->identity_ = identity_;
  out->bytes_ = bytes_;
  return out;
}

Adapter::Adapter(std::vector<Delta> deltas, std::vector<Saved> saved, const BaseLayout& base,
                 AdapterReport report)
    : deltas_(std::move(deltas)), saved_(std::move(saved)), report_(std::move(report)) {
  const auto place = [](const auto& one) { return std::tuple(one.tensor, one.expert); };
  std::ranges::sort(deltas_, {}, place);
  std::ranges::sort(saved_, {}, place);
  std::vector<Sha256Digest> digests(deltas_.size() + saved_.size());
  ThreadPool::shared(usable_processors())
      ->run(static_cast<int64_t>(digests.size()), [&](int64_t i) {
        const auto idx = static_cast<size_t>(i);
        digests[idx] = idx < deltas_.size() ? digest_of(deltas_[idx], base)
                                            : digest_of(saved_[idx - deltas_.size()], base);
      });
  identity_ = sha256(std::as_bytes(std::span(digests)));
  report_.content_hash = to_hex(identity_);
  for (const Delta& delta : deltas_) {
    bytes_ += delta.right.bytes() + delta.left.bytes() +
              (delta.gain.size() + delta.bias.size()) * sizeof(float);
  }
  for (const Saved& one : saved_) bytes_ += one.weight.bytes();
}

}  // namespace realm::lora
