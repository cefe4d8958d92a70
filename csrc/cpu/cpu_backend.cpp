#include "cpu/cpu_backend.h"

#include <cstring>
#include <new>

#include "backend/registry.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "cpu/dispatch.h"
#include "cpu/kv_layout.h"
#include "cpu/pages.h"
#include "cpu/weight.h"

namespace realm {

namespace cpu {

namespace {

constexpr uint64_t kAlignment = 64;  // a cache line, and the widest vector

// Not touched here: the system commits pages when they are first written.
class HostBuffer final : public Buffer {
 public:
  explicit HostBuffer(uint64_t bytes) {
    const uint64_t padded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    const uint64_t size = padded ? padded : kAlignment;
    data_ = static_cast<std::byte*>(::operator new(size, kAlign, std::nothrow));
    if (!data_) fail(ErrorCode::kOutOfMemory, "cannot allocate ", human_bytes(bytes));
    bytes_ = bytes;
  }
  ~HostBuffer() override { ::operator delete(data_, kAlign); }

 private:
  static constexpr std::align_val_t kAlign{kAlignment};
};

// A large one, such as the factors of adapters or keys and values, which steps read like weights.
class PagesBuffer final : public Buffer {
 public:
  explicit PagesBuffer(uint64_t bytes) : pages_(bytes, "a buffer") {
    data_ = reinterpret_cast<std::byte*>(pages_.begin());
    bytes_ = bytes;
  }

 private:
  Pages pages_;
};

}  // namespace

CpuBackend::CpuBackend(const Kernels& kernels, const PanelKernels& panel_kernels,
                       std::shared_ptr<ThreadPool> pool, ActivationKind activations)
    : kernels_(kernels),
      panel_kernels_(panel_kernels),
      pool_(std::move(pool)),
      activation_kind_(activations) {}

std::string CpuBackend::description() const {
  return concat("cpu ", panel_kernels_.compiled_for, ", ", pool_->n_threads(), " threads");
}

std::unique_ptr<Buffer> CpuBackend::allocate(uint64_t bytes) {
  if (bytes >= kHugePage) return std::make_unique<PagesBuffer>(bytes);
  return std::make_unique<HostBuffer>(bytes);
}

void CpuBackend::upload(const void* host, void* device, uint64_t bytes) {
  std::memcpy(device, host, bytes);
}

// Logits of several rows lie in memory, not in a cache: all threads fetch them.
void CpuBackend::download(const void* device, void* host, uint64_t bytes) {
  constexpr int64_t kBytesPerChunk = 64 << 10;
  pool_->run_ranges(static_cast<int64_t>(bytes), kBytesPerChunk, [&](int64_t begin, int64_t end) {
    std::memcpy(static_cast<std::byte*>(host) + begin,
                static_cast<const std::byte*>(device) + begin, static_cast<size_t>(end - begin));
  });
}

std::unique_ptr<Weight> CpuBackend::load_weight(const WeightBytes& bytes) {
  // Bytes that have an owner are used where they lie; the oracle decodes from the file's layout.
  if (bytes.owner || activation_kind_ == ActivationKind::kF32)
    return std::make_unique<CpuWeight>(bytes, weight_memory_);
  return std::make_unique<CpuWeight>(bytes, weight_memory_, *pool_);
}

std::vector<std::pair<std::string, uint64_t>> CpuBackend::path_counts() const {
  return {{"fused", path_counts_.fused.load()}, {"streamed", path_counts_.streamed.load()},
          {"slab", path_counts_.slab.load()},   {"integer", path_counts_.integer.load()},
          {"tail", path_counts_.tail.load()},   {"floats", path_counts_.floats.load()},
          {"added", path_counts_.added.load()}, {"reference", path_counts_.reference.load()}};
}

void CpuBackend::decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) {
  for (int64_t i = 0; i < n_rows; ++i) {
    as_cpu(weight).decode(kernels_, first_row + i, 0, weight.cols(), out + i * weight.cols());
  }
}

int64_t CpuBackend::kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const {
  return n_kv_heads * kv_layout(type, static_cast<int>(head_width)).bytes;
}

}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(int n_threads, ActivationKind activations) {
  const int n = n_threads > 0 ? n_threads : usable_processors();
  const CpuLevel level = active_cpu_level();
  return std::make_unique<cpu::CpuBackend>(cpu::kernels_for(level), cpu::panel_kernels_for(level),
                                           ThreadPool::shared(n), activations);
}

}  // namespace realm
