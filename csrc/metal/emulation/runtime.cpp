// The runtime over host memory. Dispatches are kept until finish(), as a command buffer keeps them,
// so that memory which the host changes too early is seen to change. Fresh memory is full of NaN.
#include "metal/emulation/runtime.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "metal/emulation/invoke.h"
#include "metal/runtime.h"

namespace realm {

namespace simt {

MetalState& metal_state() {
  static MetalState state;
  return state;
}

}  // namespace simt

namespace metal {

// Memory of its own, or a mapping of the process's.
struct MetalBuffer {
  std::byte* begin;
  uint64_t bytes;
  bool is_own;

  MetalBuffer(std::byte* at, uint64_t n, bool own) : begin(at), bytes(n), is_own(own) {}
  ~MetalBuffer() {
    if (!is_own) return;
    std::free(begin);
    simt::metal_state().used_bytes -= bytes;
  }
  MetalBuffer(const MetalBuffer&) = delete;
  MetalBuffer& operator=(const MetalBuffer&) = delete;
};

namespace {

using simt::metal_state;

struct CompiledKernel {
  simt::Signature signature;
  const simt::Invoker* invoke;
};

const std::map<std::string, CompiledKernel, std::less<>>& library() {
  static const auto kernels = [] {
    std::map<std::string, CompiledKernel, std::less<>> found;
    for (simt::Signature& signature : simt::declared_kernels(kKernelSource)) {
      std::string name = signature.name;
      found[std::move(name)] = {std::move(signature), nullptr};
    }
    for (const simt::NamedKernel& kernel : simt::compiled_kernels())
      found[kernel.name].invoke = &kernel.invoke;
    return found;
  }();
  return kernels;
}

void require_alive() {
  if (metal_state().lost) fail(ErrorCode::kDevice, "Metal: the emulated device was lost");
}

class EmulatedDevice final : public Device {
 public:
  const DeviceProperties& properties() const override { return properties_; }
  uint64_t free_bytes() const override {
    const std::lock_guard lock(mutex_);
    return bytes_left();
  }

  MetalBuffer* make_buffer(uint64_t bytes) override {
    require_alive();
    const std::lock_guard lock(mutex_);
    if (bytes > bytes_left() || bytes > properties_.buffer_bytes) return nullptr;
    // The sanitizer's own red zone stands right behind the last byte.
    void* memory = nullptr;
    if (posix_memalign(&memory, 256, bytes)) return nullptr;
    std::memset(memory, 0xff, bytes);
    metal_state().used_bytes += bytes;
    ++metal_state().n_allocations;
    return keep(std::make_shared<MetalBuffer>(static_cast<std::byte*>(memory), bytes, true));
  }

  MetalBuffer* map_memory(const void* begin, uint64_t bytes) override {
    require_alive();
    if (metal_state().refuses_mapping || bytes > properties_.buffer_bytes) return nullptr;
    if (reinterpret_cast<uintptr_t>(begin) % kMappedAlignment || bytes % kMappedAlignment)
      fail(ErrorCode::kInternal, "Metal: mapped memory is not whole pages");
    const std::lock_guard lock(mutex_);
    ++metal_state().n_mapped;
    return keep(std::make_shared<MetalBuffer>(static_cast<std::byte*>(const_cast<void*>(begin)),
                                              bytes, false));
  }

  void free_buffer(MetalBuffer* buffer) noexcept override {
    const std::lock_guard lock(mutex_);
    buffers_.erase(buffer);
  }

  std::byte* host_address(MetalBuffer* buffer) const override { return buffer->begin; }
  uint64_t gpu_address(MetalBuffer* buffer) const override {
    return reinterpret_cast<uintptr_t>(buffer->begin);
  }

  void dispatch(const Dispatch& dispatch) override {
    require_alive();
    const KernelInfo& info = kernel_info(dispatch.kernel);
    const auto found = library().find(info.name);
    if (found == library().end() || !found->second.invoke)
      fail(ErrorCode::kInternal, "Metal: there is no kernel ", info.name);
    if (dispatch.constants_bytes != info.constants_bytes)
      fail(ErrorCode::kInternal, "Metal: ", info.name, " gets constants of another size");
    Recorded recorded{&info, &found->second, dispatch.grid, {}, {}, {}};
    for (const Place& place : dispatch.buffers) {
      if (place.buffer && place.offset >= place.buffer->bytes)
        fail(ErrorCode::kInternal, "Metal: ", info.name, ": an operand lies outside of its buffer");
      recorded.buffers.push_back(place.buffer ? place.buffer->begin + place.offset : nullptr);
      retain(place.buffer, recorded);
    }
    for (MetalBuffer* buffer : dispatch.residents) retain(buffer, recorded);
    const auto* constants = static_cast<const std::byte*>(dispatch.constants);
    recorded.constants.assign(constants, constants + dispatch.constants_bytes);
    pending_.push_back(std::move(recorded));
  }

  bool has_pending() const override { return !pending_.empty(); }

  void finish() override {
    std::vector<Recorded> running;
    running.swap(pending_);
    ++metal_state().n_command_buffers;
    for (Recorded& recorded : running) {
      auto& state = metal_state();
      if (state.fail_dispatch_in > 0 && --state.fail_dispatch_in == 0) state.lost = true;
      require_alive();
      ++state.n_dispatches;
      const Hidden hidden(*this, recorded);
      run(recorded);
    }
  }

 private:
  struct Recorded {
    const KernelInfo* info;
    const CompiledKernel* kernel;
    Grid grid;
    std::vector<void*> buffers;
    std::vector<std::byte> constants;
    std::vector<std::shared_ptr<MetalBuffer>> kept;
  };

  // What a dispatch does not make resident, a device need not find: it is NaN as long as this
  // lives, and what is written there is lost.
  class Hidden {
   public:
    Hidden(EmulatedDevice& device, const Recorded& recorded) {
      if (!metal_state().hides_the_rest) return;
      const std::lock_guard lock(device.mutex_);
      for (const auto& [raw, buffer] : device.buffers_) {
        if (!buffer->is_own || std::ranges::count(recorded.kept, buffer) > 0) continue;
        hidden_.push_back({buffer, {buffer->begin, buffer->begin + buffer->bytes}});
        std::memset(buffer->begin, 0xff, buffer->bytes);
      }
    }
    ~Hidden() {
      for (const auto& [buffer, bytes] : hidden_)
        std::memcpy(buffer->begin, bytes.data(), bytes.size());
    }
    Hidden(const Hidden&) = delete;
    Hidden& operator=(const Hidden&) = delete;

   private:
    std::vector<std::pair<std::shared_ptr<MetalBuffer>, std::vector<std::byte>>> hidden_;
  };

  static uint64_t bytes_left() { return metal_state().memory_bytes - metal_state().used_bytes; }

  MetalBuffer* keep(std::shared_ptr<MetalBuffer> buffer) {
    MetalBuffer* raw = buffer.get();
    buffers_[raw] = std::move(buffer);
    return raw;
  }

  void retain(MetalBuffer* buffer, Recorded& recorded) {
    if (!buffer) return;
    const std::lock_guard lock(mutex_);
    recorded.kept.push_back(buffers_.at(buffer));
  }

  static void run(Recorded& recorded) {
    simt::Bound bound{&recorded.kernel->signature, recorded.buffers};
    if (!recorded.constants.empty()) bound.buffers.push_back(recorded.constants.data());
    size_t n_bindings = 0;
    for (const simt::Parameter& parameter : bound.signature->parameters)
      n_bindings += parameter.ask == simt::Ask::kBuffer;
    if (n_bindings != bound.buffers.size()) {
      fail(ErrorCode::kInternal, "Metal: ", recorded.info->name, " has ", n_bindings,
           " bindings and is given ", bound.buffers.size());
    }
    const auto size = [](int64_t n) { return static_cast<unsigned>(n); };
    constexpr unsigned kAnyGrid = ~0u;
    simt::run({size(recorded.grid.x), size(recorded.grid.y), size(recorded.grid.z)},
              {recorded.info->threads, 1, 1}, recorded.info->shared_bytes,
              [&] { (*recorded.kernel->invoke)(bound); }, {kThreadgroupBytes, kAnyGrid});
  }

  const DeviceProperties properties_{"emulated on the CPU", "Apple7", metal_state().memory_bytes,
                                     metal_state().buffer_bytes};
  mutable std::mutex mutex_;  // of buffers_ and of the state's counts
  std::map<MetalBuffer*, std::shared_ptr<MetalBuffer>> buffers_;
  std::vector<Recorded> pending_;
};

}  // namespace

std::unique_ptr<Device> open_device(std::string& reason) {
  if (!metal_state().is_absent) return std::make_unique<EmulatedDevice>();
  reason = "the emulated device is switched off";
  return nullptr;
}

}  // namespace metal

}  // namespace realm
