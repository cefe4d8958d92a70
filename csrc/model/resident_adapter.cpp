#include "model/resident_adapter.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <span>

namespace realm {

namespace {

constexpr uint64_t kAlignment = 64;

uint64_t padded(uint64_t bytes) {
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

uint64_t vector_bytes(const std::vector<float>& values) {
  return padded(values.size() * sizeof(float));
}

uint64_t bytes_of(const lora::Delta& delta) {
  return padded(delta.right.bytes()) + padded(delta.left.bytes()) + vector_bytes(delta.gain) +
         vector_bytes(delta.bias);
}

using SitesOf = std::map<std::string_view, std::vector<SiteId>>;

// Positions in deltas(), as a forward meets them: it then reads memory from one end to the other.
std::vector<size_t> in_forward_order(const lora::Adapter& adapter, const lora::BaseLayout& base,
                                     const SitesOf& sites_of) {
  const auto first_site = [&](size_t i) {
    const auto found = sites_of.find(base.tensors()[adapter.deltas()[i].tensor].name);
    return found == sites_of.end() ? kNoSite : found->second.front();
  };
  std::vector<size_t> order(adapter.deltas().size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, {}, first_site);
  return order;
}

// Columns first .. first + n - 1 of a factor that lies at `data`.
FactorView view_of(const lora::Factor& factor, const std::byte* data, int64_t first, int64_t n) {
  if (factor.rows() == 0) return {};
  const int64_t width = factor.dtype() == DType::kF32 ? 4 : 2;
  return {data + first * width, factor.dtype(), factor.rows(), n, factor.cols()};
}

}  // namespace

// One piece of the backend's memory, handed out from its beginning.
class ResidentAdapter::Memory {
 public:
  Memory(Backend& backend, Buffer& buffer) : backend_(backend), next_(buffer.data()) {}

  const std::byte* place(const void* values, uint64_t bytes) {
    if (bytes == 0) return nullptr;
    std::byte* at = next_;
    backend_.upload(values, at, bytes);
    next_ += padded(bytes);
    return at;
  }

  const float* place(const std::vector<float>& values) {
    return reinterpret_cast<const float*>(place(values.data(), values.size() * sizeof(float)));
  }

 private:
  Backend& backend_;
  std::byte* next_;
};

ResidentAdapter::ResidentAdapter(const lora::Adapter& adapter, const lora::BaseLayout& base,
                                 const std::vector<AdapterSite>& sites, Backend& backend)
    : adapter_(adapter.without_values()) {
  for (const lora::Delta& delta : adapter.deltas()) bytes_ += bytes_of(delta);
  memory_ = backend.allocate(bytes_);
  SitesOf sites_of;
  for (size_t i = 0; i < sites.size(); ++i) {
    sites_of[sites[i].tensor].push_back(static_cast<SiteId>(i));
  }
  std::vector<std::vector<OfExpert>> terms(sites.size());
  Memory memory(backend, *memory_);
  for (const size_t i : in_forward_order(adapter, base, sites_of)) {
    const lora::Delta &delta = adapter.deltas()[i], &kept = adapter_->deltas()[i];
    const lora::BaseTensor& tensor = base.tensors()[delta.tensor];
    const std::byte* right = memory.place(delta.right.data(), delta.right.bytes());
    const std::byte* left = memory.place(delta.left.data(), delta.left.bytes());
    const float *gain = memory.place(delta.gain), *bias = memory.place(delta.bias);
    if (tensor.kind == lora::BaseKind::kEmbedding) {
      embedding_ = AdapterTerm{view_of(delta.left, left, 0, delta.rank),
                               view_of(delta.right, right, 0, tensor.cols),
                               delta.scale,
                               {},
                               {},
                               nullptr};
      continue;
    }
    for (const SiteId id : sites_of[tensor.name]) {
      const auto& [name, first, n] = sites[static_cast<size_t>(id)];
      AdapterTerm term{view_of(delta.right, right, 0, tensor.cols),
                       view_of(delta.left, left, first, n),
                       delta.scale,
                       {},
                       {},
                       nullptr};
      if (gain) term.gain = {gain + first, n};
      if (gain) term.host_gain = kept.gain.data() + first;
      has_gains_ = has_gains_ || gain;
      if (bias) term.shift = {bias + first, n};
      terms[static_cast<size_t>(id)].emplace_back(delta.expert, term);
    }
  }
  for (auto& of_site : terms) {
    std::ranges::sort(of_site, {}, &OfExpert::first);
    first_of_site_.push_back(static_cast<uint32_t>(terms_.size()));
    terms_.insert(terms_.end(), of_site.begin(), of_site.end());
  }
  first_of_site_.push_back(static_cast<uint32_t>(terms_.size()));
  for (const lora::Saved& saved : adapter.saved()) {
    const lora::BaseTensor& tensor = base.tensors()[saved.tensor];
    const lora::Factor& weight = saved.weight;
    bytes_ += weight.bytes();
    const uint64_t row_bytes = weight.bytes() / static_cast<uint64_t>(weight.rows());
    const auto load = [&](int64_t first, int64_t n) {
      const std::span<const std::byte> rows(
          weight.data() + static_cast<uint64_t>(first) * row_bytes,
          static_cast<uint64_t>(n) * row_bytes);
      return backend.load_weight({weight.dtype(), n, weight.cols(), rows, nullptr});
    };
    if (tensor.kind == lora::BaseKind::kEmbedding) {
      saved_embedding_ = load(0, weight.rows());
      continue;
    }
    for (const SiteId id : sites_of[tensor.name]) {
      const AdapterSite& site = sites[static_cast<size_t>(id)];
      saved_.emplace(id, load(site.first_row, site.n_rows));
    }
  }
}

void ResidentAdapter::expect(SiteId site) const {
  if (site == kNoSite) return;
  const OfExpert* first = terms_.data() + first_of_site_[static_cast<size_t>(site)];
  const auto* bytes = reinterpret_cast<const char*>(first);
  for (size_t i = 0; i < sizeof(OfExpert); i += 64) __builtin_prefetch(bytes + i);
}

const AdapterTerm* ResidentAdapter::term(SiteId site, int64_t expert) const {
  if (site == kNoSite) return nullptr;
  const auto i = static_cast<size_t>(site);
  const std::span of_site(terms_.begin() + first_of_site_[i],
                          terms_.begin() + first_of_site_[i + 1]);
  const auto found = std::ranges::lower_bound(of_site, expert, {}, &OfExpert::first);
  return found == of_site.end() || found->first != expert ? nullptr : &found->second;
}

const Weight* ResidentAdapter::saved(SiteId site) const {
  const auto found = saved_.find(site);
  return found == saved_.end() ? nullptr : found->second.get();
}

}  // namespace realm
