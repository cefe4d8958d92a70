#include "metal/metal_backend.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "backend/registry.h"
#include "metal/on_device.h"

namespace realm {

namespace metal {

namespace {

constexpr int64_t kNarrowCols = 512;  // a head's norm is a simdgroup's work

std::unique_ptr<Device> require_device() {
  std::string reason;
  auto device = open_device(reason);
  if (!device) fail(ErrorCode::kDevice, "there is no Metal device: ", reason);
  return device;
}

int64_t elements(Matrix x) {
  return x.rows * x.cols;
}

}  // namespace

MetalBackend::MetalBackend(bool deterministic) : MetalBackend(require_device(), deterministic) {}

MetalBackend::MetalBackend(std::unique_ptr<Device> device, bool deterministic)
    : memory_(std::make_shared<Memory>(std::move(device))), deterministic_(deterministic) {}

std::string MetalBackend::description() const {
  const DeviceProperties& properties = memory_->device().properties();
  return concat("metal, ", properties.name, ", ", properties.family,
                deterministic_ ? ", deterministic" : "");
}

std::vector<std::pair<std::string, uint64_t>> MetalBackend::path_counts() const {
  std::vector<std::pair<std::string, uint64_t>> counts;
  for (size_t i = 0; i < counts_.size(); ++i)
    counts.emplace_back(kernel_info(static_cast<Kernel>(i)).name, counts_[i]);
  return counts;
}

void MetalBackend::record(Dispatch dispatch) {
  if (dispatch.grid.x == 0 || dispatch.grid.y == 0 || dispatch.grid.z == 0) return;
  memory_->device().dispatch(dispatch);
  ++counts_[static_cast<size_t>(dispatch.kernel)];
}

void MetalBackend::launch(Kernel kernel, Grid grid, std::initializer_list<Place> places) {
  record({kernel, grid, {places.begin(), places.size()}});
}

void MetalBackend::finish() {
  if (memory_->device().has_pending()) memory_->device().finish();
  step_.forget();
}

std::unique_ptr<Buffer> MetalBackend::allocate(uint64_t bytes) {
  return on_device([&] { return std::make_unique<DeviceBuffer>(memory_, bytes); });
}

void MetalBackend::upload(const void* host, void* device, uint64_t bytes) {
  on_device([&] {
    finish();
    if (bytes > 0) std::memcpy(device, host, bytes);
  });
}

void MetalBackend::download(const void* device, void* host, uint64_t bytes) {
  on_device([&] {
    finish();
    if (bytes > 0) std::memcpy(host, device, bytes);
  });
}

void MetalBackend::sync() {
  on_device([&] { finish(); });
}

std::unique_ptr<Weight> MetalBackend::load_weight(const WeightBytes& bytes) {
  return on_device([&] { return std::make_unique<MetalWeight>(bytes, memory_); });
}

void MetalBackend::decode_rows(const Weight& weight, int64_t first_row, int64_t n_rows,
                               float* out) {
  constexpr int64_t kRowsAtOnce = 256;
  std::vector<int32_t> rows;
  for (int64_t done = 0; done < n_rows; done += kRowsAtOnce) {
    rows.resize(static_cast<size_t>(std::min(kRowsAtOnce, n_rows - done)));
    std::iota(rows.begin(), rows.end(), static_cast<int32_t>(first_row + done));
    const auto n = static_cast<int64_t>(rows.size());
    const auto decoded = on_device([&] { return decoded_.reserve_of<float>(n * weight.cols()); });
    run_embed(weight, rows, 1.0f, {decoded, n, weight.cols()});
    download(decoded, out + done * weight.cols(),
             static_cast<uint64_t>(n * weight.cols()) * sizeof(float));
  }
}

// Of memory that all programs share, and of what the system lets the device have of it: the rest is
// for working memory, adapters, and a draft model's cache.
uint64_t MetalBackend::memory_for_cache() const {
  return std::min(Backend::memory_for_cache(), memory_->device().free_bytes() / 4 * 3);
}

int64_t MetalBackend::kv_page_tokens() const {
  return gpu::kPageTokens;
}

int64_t MetalBackend::kv_page_bytes(KvType type, int64_t n_kv_heads, int64_t head_width) const {
  if (head_width > gpu::kMaxHeadWidth) {
    fail(ErrorCode::kFormat, "the head width is ", head_width, "; the Metal backend runs up to ",
         gpu::kMaxHeadWidth);
  }
  return n_kv_heads * gpu::kv_page_layout(type, static_cast<int>(head_width)).head_bytes;
}

// ---- ops whose rows stand alone
// -----------------------------------------------------------------

void MetalBackend::run_embed(const Weight& table, std::span<const int32_t> tokens, float scale,
                             Matrix out) {
  on_device([&] {
    const MetalWeight& weight = metal_weight(table);
    const auto format = static_cast<int>(weight.format());
    const bool is_quantized = weight.format() >= WeightFormat::kQ4_0;
    const int64_t threads = is_quantized ? out.cols / msl::kPiece : out.cols;
    launch(member(Kernel::kEmbed, format), {div_up(threads, msl::kEmbedThreads), out.rows},
           {weight.place(), step_.put(tokens), at(out.data)}, msl::EmbedParams{out.cols, scale});
  });
}

void MetalBackend::run_gather(Matrix in, std::span<const int32_t> rows, Matrix out) {
  on_device([&] {
    launch_elements(Kernel::kGather, elements(out), {at(in.data), step_.put(rows), at(out.data)},
                    msl::RowsParams{elements(out), out.cols});
  });
}

void MetalBackend::run_norm(NormKind kind, Matrix in, Vector weight, Vector bias, float eps,
                            Matrix out) {
  on_device([&] {
    const msl::NormParams params{in.cols, eps, bias.data != nullptr};
    const bool narrow = in.cols <= kNarrowCols;
    if (kind == NormKind::kRms) {
      launch(narrow ? Kernel::kRmsNormNarrow : Kernel::kRmsNorm, {in.rows},
             {at(in.data), at(weight.data), at(out.data)}, params);
    } else {
      launch(narrow ? Kernel::kLayerNormNarrow : Kernel::kLayerNorm, {in.rows},
             {at(in.data), at(weight.data), at(bias.data), at(out.data)}, params);
    }
  });
}

void MetalBackend::run_add(Matrix x, Matrix y, float scale) {
  on_device([&] {
    launch_elements(Kernel::kAdd, elements(x), {at(x.data), at(y.data)},
                    msl::AddParams{elements(x), scale});
  });
}

void MetalBackend::run_scale(Matrix x, float factor) {
  on_device([&] {
    launch_elements(Kernel::kScale, elements(x), {at(x.data)},
                    msl::ScaleParams{elements(x), factor});
  });
}

void MetalBackend::run_softcap(Matrix x, float cap) {
  on_device([&] {
    launch_elements(Kernel::kSoftcap, elements(x), {at(x.data)},
                    msl::SoftcapParams{elements(x), cap});
  });
}

void MetalBackend::run_activate(Activation kind, Matrix x) {
  on_device([&] {
    launch_elements(Kernel::kActivate, elements(x), {at(x.data)},
                    msl::ActivateParams{elements(x), kind});
  });
}

void MetalBackend::run_gate(Activation kind, Matrix gate, Matrix up, Matrix out) {
  on_device([&] {
    launch_elements(Kernel::kGate, elements(out), {at(gate.data), at(up.data), at(out.data)},
                    msl::ActivateParams{elements(out), kind});
  });
}

void MetalBackend::run_scale_by_sigmoid(Matrix x, Matrix logits) {
  on_device([&] {
    launch_elements(Kernel::kScaleBySigmoid, elements(x), {at(x.data), at(logits.data)},
                    msl::RowsParams{elements(x), x.cols});
  });
}

void MetalBackend::run_rotate(Matrix x, int64_t head_width, RopeAngles angles) {
  on_device([&] {
    const int64_t n_heads = x.cols / head_width, n = x.rows * n_heads * angles.half;
    launch_elements(Kernel::kRotate, n, {at(x.data), at(angles.cos), at(angles.sin)},
                    msl::RotateParams{n, n_heads, head_width, angles.half, angles.interleaved});
  });
}

void MetalBackend::choose_largest(Matrix logits, int32_t* tokens) {
  on_device([&] {
    launch(Kernel::kChooseLargest, {logits.rows}, {at(logits.data), at(tokens)},
           msl::ChooseParams{logits.cols});
  });
}

}  // namespace metal

std::unique_ptr<Backend> make_metal_backend(bool deterministic) {
  return std::make_unique<metal::MetalBackend>(deterministic);
}

}  // namespace realm
