#include "cuda/cuda_backend.h"

#include <algorithm>
#include <numeric>

#include "backend/registry.h"
#include "cuda/on_device.h"

namespace realm {

namespace cuda {

namespace {

int require_device(int device) {
  std::string reason;
  const int n = count_devices(reason);
  if (n == 0)
    fail(ErrorCode::kDevice, "there is no CUDA device", reason.empty() ? "" : ": ", reason);
  if (device < 0 || device >= n)
    fail(ErrorCode::kDevice, "there is no CUDA device ", device, "; this machine has ", n);
  return device;
}

// What kernels are written for: asynchronous copies and the matrix unit's bf16.
constexpr int kLeastMajor = 8;

DeviceProperties require_capable(int device) {
  DeviceProperties found = describe_device(device);
  if (found.major < kLeastMajor) {
    fail(ErrorCode::kDevice, "CUDA device ", device, ", ", found.name, ", is sm_", found.major,
         found.minor, "; the kernels need sm_", kLeastMajor, "0 or later");
  }
  return found;
}

int64_t elements(Matrix x) {
  return x.rows * x.cols;
}

}  // namespace

void Loss::note(const char* what) {
  const std::lock_guard lock(mutex_);
  if (what_.empty()) what_ = what;
}

void Loss::require_none(int device) const {
  const std::lock_guard lock(mutex_);
  if (!what_.empty()) fail(ErrorCode::kDevice, "CUDA device ", device, " was lost: ", what_);
}

CudaBackend::CudaBackend(int device, bool deterministic, ActivationKind activations)
    : device_(require_device(device)), deterministic_(deterministic), activations_(activations) {
  properties_ = require_capable(device_);
  select_device(device_);
  if (!deterministic_) {
    std::string reason;
    library_ = DenseLibrary::open(reason);
    if (library_) workspace_.reserve(DenseLibrary::kWorkspaceBytes);
  }
  stream_ = make_stream();
}

CudaBackend::~CudaBackend() {
  free_stream(stream_);
}

std::string CudaBackend::description() const {
  return concat("cuda ", device_, ", ", properties_.name, ", sm_", properties_.major,
                properties_.minor, deterministic_ ? ", deterministic" : "",
                activations_ == ActivationKind::kF32 ? ", f32 activations" : "",
                library_ ? ", " + library_->version() : "");
}

std::vector<std::pair<std::string, uint64_t>> CudaBackend::path_counts() const {
  auto counts = launches_.by_name();
  counts.insert(counts.end(), {{"steps replayed", step_counts_.replayed},
                               {"steps captured", step_counts_.captured},
                               {"steps issued", step_counts_.eager},
                               {"captures failed", step_counts_.not_captured},
                               {"graphs dropped", step_counts_.dropped},
                               {"rows listed", rows_listed_}});
  return counts;
}

std::unique_ptr<StepRecorder> CudaBackend::make_step_recorder() {
  return std::make_unique<StepGraphs>(*this);
}

std::unique_ptr<Buffer> CudaBackend::allocate(uint64_t bytes) {
  return beside_ops([&] { return std::make_unique<DeviceBuffer>(device_, bytes); });
}

// The rest is for working memory, adapters, and a draft model's cache.
uint64_t CudaBackend::memory_for_cache() const {
  return beside_ops([] { return memory_state().free_bytes / 4 * 3; });
}

void CudaBackend::upload(const void* host, void* device, uint64_t bytes) {
  on_device([&] { copy_to_device(device, host, bytes, stream_); });
}

void CudaBackend::download(const void* device, void* host, uint64_t bytes) {
  on_device([&] {
    copy_to_host(host, device, bytes, stream_);
    await_stream(stream_);
  });
}

void CudaBackend::sync() {
  on_device([&] { await_stream(stream_); });
}

std::unique_ptr<Weight> CudaBackend::load_weight(const WeightBytes& bytes) {
  return on_device([&] {
    return std::make_unique<CudaWeight>(bytes, pack_weight(bytes, activations_), device_, stream_);
  });
}

void CudaBackend::decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows, float* out) {
  constexpr int64_t kRowsAtOnce = 256;
  std::vector<int32_t> rows;
  for (int64_t done = 0; done < n_rows; done += kRowsAtOnce) {
    rows.resize(static_cast<size_t>(std::min(kRowsAtOnce, n_rows - done)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first_row + done));
    const auto n = static_cast<int64_t>(rows.size());
    on_device([&] {
      auto* decoded = halves_.reserve_of<float>(n * weight.cols());
      launch_embed(packed_of(weight), upload_tokens(rows), 1.0f, decoded, n, stream_);
      copy_to_host(out + done * weight.cols(), decoded,
                   static_cast<uint64_t>(n * weight.cols()) * sizeof(float), stream_);
      await_stream(stream_);
    });
  }
}

int64_t CudaBackend::kv_page_tokens() const {
  return kPageTokens;
}

int64_t CudaBackend::kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const {
  if (head_width > kMaxHeadWidth) {
    fail(ErrorCode::kFormat, "the head width is ", head_width, "; the CUDA backend runs up to ",
         kMaxHeadWidth);
  }
  return n_kv_heads * kv_page_layout(type, static_cast<int>(head_width)).head_bytes;
}

const int32_t* CudaBackend::upload_tokens(std::span<const int32_t> tokens) {
  if (is_capturing()) return graphs_->words_of(tokens);
  auto* device = tokens_.reserve_of<int32_t>(static_cast<int64_t>(tokens.size()));
  copy_to_device(device, tokens.data(), tokens.size_bytes(), stream_);
  return device;
}

// ---- ops whose rows stand alone
// -----------------------------------------------------------------

void CudaBackend::run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                            Matrix out) {
  on_device([&] {
    launch_embed(packed_of(table), upload_tokens(tokens), scale, out.data, out.rows, stream_);
  });
}

void CudaBackend::run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) {
  on_device(
      [&] { launch_gather(in.data, upload_tokens(rows), out.data, out.rows, out.cols, stream_); });
}

void CudaBackend::run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                           Matrix out) {
  on_device([&] {
    launch_norm(kind, in.data, weight.data, bias.data, eps, out.data, quantize_with(out), in.rows,
                in.cols, stream_);
  });
}

void CudaBackend::run_add(Matrix x, Matrix y, float scale) {
  on_device([&] { launch_add(x.data, y.data, scale, elements(x), stream_); });
}

void CudaBackend::run_scale(Matrix x, float factor) {
  on_device([&] { launch_scale(x.data, factor, elements(x), stream_); });
}

void CudaBackend::run_softcap(Matrix x, float cap) {
  on_device([&] { launch_softcap(x.data, cap, elements(x), stream_); });
}

void CudaBackend::run_activate(Activation kind, Matrix x) {
  on_device([&] { launch_activate(kind, x.data, quantize_with(x), elements(x), stream_); });
}

void CudaBackend::run_gate(Activation kind, Matrix gate, Matrix up, Matrix out) {
  on_device([&] {
    launch_gate(kind, gate.data, up.data, out.data, quantize_with(out), elements(out), stream_);
  });
}

void CudaBackend::run_scale_by_sigmoid(Matrix x, Matrix logits) {
  on_device([&] { launch_scale_by_sigmoid(x.data, logits.data, x.rows, x.cols, stream_); });
}

void CudaBackend::run_rotate(Matrix x, int64_t head_width, RopeAngles angles) {
  on_device([&] {
    launch_rotate(x.data, x.rows, x.cols / head_width, head_width, angles_of(angles), stream_);
  });
}

void CudaBackend::run_shortlist(Matrix logits, int64_t width, TopLogit* out) {
  on_device([&] {
    const int64_t n = logits.rows * (1 + width);
    auto* lists = lists_.reserve_of<TopLogit>(n);
    launch_shortlist(logits.data, logits.rows, logits.cols, width, lists, stream_);
    copy_to_host(out, lists, static_cast<uint64_t>(n) * sizeof(TopLogit), stream_);
    await_stream(stream_);
  });
  rows_listed_ += static_cast<uint64_t>(logits.rows);
}

}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(int device, bool deterministic,
                                           ActivationKind activations) {
  return std::make_unique<cuda::CudaBackend>(device, deterministic, activations);
}

}  // namespace realm
