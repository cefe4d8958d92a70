// The runtime over Metal itself. One command queue; a command buffer from the first dispatch after
// a finish() to the next finish(), with one serial encoder, so that a dispatch sees what those
// before it wrote. Shaders are compiled from their source when the device is opened, pipelines when
// first used. Errors are told in Metal's words.
#include <array>

#include "base/error.h"
#include "metal/objc.h"
#include "metal/runtime.h"

namespace realm::metal {

using objc::Id;
using objc::Integer;
using objc::Owned;
using objc::Pool;
using objc::send;

namespace {

// From Metal's headers.
constexpr long kFamilyApple7 = 1007;  // MTLGPUFamilyApple7: simdgroup matrices
constexpr long kNewestFamily = 1015;
constexpr Integer kLanguage3_0 = Integer{3} << 16;  // MTLLanguageVersion3_0
constexpr Integer kStorageShared = 0;               // MTLResourceStorageModeShared
constexpr Integer kReadAndWrite = 1 | 2;            // MTLResourceUsageRead | MTLResourceUsageWrite
constexpr Integer kCompleted = 4;                   // MTLCommandBufferStatusCompleted
constexpr long kMathSafe = 0;                       // MTLMathModeSafe
constexpr long kFunctionsPrecise = 1;               // MTLMathFloatingPointFunctionsPrecise

struct Size {  // MTLSize
  Integer width, height, depth;
};

Id as_id(MetalBuffer* buffer) {
  return reinterpret_cast<Id>(buffer);
}

class MetalDevice final : public Device {
 public:
  // Throws kDevice with the reason if the device does not serve.
  explicit MetalDevice(Owned device) : device_(std::move(device)) {
    const Pool pool;
    properties_.name = objc::text(send(device_.get(), "name"));
    require(supports(kFamilyApple7), properties_.name,
            " has no simdgroup matrices (Apple7, the M1, is the first family that has)");
    long family = kFamilyApple7;
    while (family < kNewestFamily && supports(family + 1)) ++family;
    properties_.family = concat("Apple", family - 1000);
    properties_.memory_bytes = send<uint64_t>(device_.get(), "recommendedMaxWorkingSetSize");
    properties_.buffer_bytes = send<Integer>(device_.get(), "maxBufferLength");
    const auto shared = send<Integer>(device_.get(), "maxThreadgroupMemoryLength");
    require(shared >= kThreadgroupBytes, properties_.name, " has ", shared,
            " bytes of threadgroup memory; kernels need ", kThreadgroupBytes);
    queue_ = Owned(send(device_.get(), "newCommandQueue"));
    require(static_cast<bool>(queue_), "no command queue can be made");
    nothing_ = Owned(new_buffer(16));
    require(nothing_ && objc::responds(nothing_.get(), "gpuAddress"),
            "this macOS has no GPU addresses; macOS 13 has");
    compile();
  }

  // Metal ends a process that drops an open encoder.
  ~MetalDevice() override {
    const Pool pool;
    if (encoder_) send<void>(encoder_.get(), "endEncoding");
  }

  const DeviceProperties& properties() const override { return properties_; }
  uint64_t free_bytes() const override {
    const auto used = send<uint64_t>(device_.get(), "currentAllocatedSize");
    return used < properties_.memory_bytes ? properties_.memory_bytes - used : 0;
  }

  MetalBuffer* make_buffer(uint64_t bytes) override {
    const Pool pool;
    if (bytes > free_bytes() || bytes > properties_.buffer_bytes) return nullptr;
    return reinterpret_cast<MetalBuffer*>(new_buffer(bytes));
  }
  MetalBuffer* map_memory(const void* begin, uint64_t bytes) override {
    const Pool pool;
    if (bytes > properties_.buffer_bytes) return nullptr;
    // The deallocator, a block, is none: the weight keeps the mapping alive.
    return reinterpret_cast<MetalBuffer*>(
        send(device_.get(), "newBufferWithBytesNoCopy:length:options:deallocator:",
             const_cast<void*>(begin), static_cast<Integer>(bytes), kStorageShared, Id{}));
  }
  // A command buffer keeps what it uses.
  void free_buffer(MetalBuffer* buffer) noexcept override {
    const Pool pool;
    if (buffer) send<void>(as_id(buffer), "release");
  }
  std::byte* host_address(MetalBuffer* buffer) const override {
    return static_cast<std::byte*>(send<void*>(as_id(buffer), "contents"));
  }
  uint64_t gpu_address(MetalBuffer* buffer) const override {
    return send<uint64_t>(as_id(buffer), "gpuAddress");
  }

  void dispatch(const Dispatch& dispatch) override {
    const Pool pool;
    const KernelInfo& info = kernel_info(dispatch.kernel);
    const Id pipeline = pipeline_of(dispatch.kernel);
    const Id encoder = open_encoder();
    send<void>(encoder, "setComputePipelineState:", pipeline);
    Integer index = 0;
    for (const Place& place : dispatch.buffers) {
      // Metal's validation wants a buffer also where the kernel is told to read none.
      const Id buffer = place.buffer ? as_id(place.buffer) : nothing_.get();
      send<void>(encoder, "setBuffer:offset:atIndex:", buffer, static_cast<Integer>(place.offset),
                 index++);
    }
    if (dispatch.constants_bytes > 0) {
      send<void>(encoder, "setBytes:length:atIndex:", dispatch.constants,
                 static_cast<Integer>(dispatch.constants_bytes), index);
    }
    for (MetalBuffer* buffer : dispatch.residents)
      send<void>(encoder, "useResource:usage:", as_id(buffer), kReadAndWrite);
    if (info.shared_bytes > 0) {
      send<void>(encoder, "setThreadgroupMemoryLength:atIndex:", Integer{info.shared_bytes},
                 Integer{0});
    }
    const auto size = [](int64_t n) { return static_cast<Integer>(n); };
    send<void>(encoder, "dispatchThreadgroups:threadsPerThreadgroup:",
               Size{size(dispatch.grid.x), size(dispatch.grid.y), size(dispatch.grid.z)},
               Size{info.threads, 1, 1});
  }

  bool has_pending() const override { return static_cast<bool>(commands_); }

  void finish() override {
    if (!commands_) return;
    const Pool pool;
    send<void>(encoder_.get(), "endEncoding");
    encoder_ = Owned();
    const Owned commands = std::move(commands_);
    send<void>(commands.get(), "commit");
    send<void>(commands.get(), "waitUntilCompleted");
    if (send<Integer>(commands.get(), "status") == kCompleted) return;
    fail(ErrorCode::kDevice, "Metal: ", objc::description(send(commands.get(), "error")));
  }

 private:
  template <class... What>
  static void require(bool holds, const What&... what) {
    if (!holds) fail(ErrorCode::kDevice, "Metal: ", what...);
  }

  bool supports(long family) const {
    return send<signed char>(device_.get(), "supportsFamily:", family) != 0;
  }

  Id new_buffer(uint64_t bytes) const {
    return send(device_.get(), "newBufferWithLength:options:", static_cast<Integer>(bytes),
                kStorageShared);
  }

  // All kernels, without fast math: exp and division as IEEE has them, and NaN stays NaN.
  void compile() {
    const Owned options(
        send(send(objc::runtime().get_class("MTLCompileOptions"), "alloc"), "init"));
    require(static_cast<bool>(options), "there are no options to compile with");
    send<void>(options.get(), "setLanguageVersion:", kLanguage3_0);
    if (objc::responds(options.get(), "setMathMode:")) {  // macOS 15
      send<void>(options.get(), "setMathMode:", kMathSafe);
      send<void>(options.get(), "setMathFloatingPointFunctions:", kFunctionsPrecise);
    } else {
      send<void>(options.get(), "setFastMathEnabled:", static_cast<signed char>(0));
    }
    Id error = nullptr;
    library_ = Owned(send(device_.get(), "newLibraryWithSource:options:error:",
                          objc::string(kKernelSource), options.get(), &error));
    require(static_cast<bool>(library_), "compiling the kernels: ", objc::description(error));
  }

  Id pipeline_of(Kernel kernel) {
    Owned& pipeline = pipelines_[static_cast<size_t>(kernel)];
    if (pipeline) return pipeline.get();
    const KernelInfo& info = kernel_info(kernel);
    const Owned function(send(library_.get(), "newFunctionWithName:", objc::string(info.name)));
    require(static_cast<bool>(function), "there is no kernel ", info.name);
    Id error = nullptr;
    Owned made(
        send(device_.get(), "newComputePipelineStateWithFunction:error:", function.get(), &error));
    require(static_cast<bool>(made), info.name, ": ", objc::description(error));
    const auto threads = send<Integer>(made.get(), "maxTotalThreadsPerThreadgroup");
    require(threads >= info.threads, info.name, " runs in ", threads, " threads at most and needs ",
            info.threads);
    const auto width = send<Integer>(made.get(), "threadExecutionWidth");
    require(width == Integer{msl::kSimd}, info.name, ": a simdgroup has ", width, " threads");
    pipeline = std::move(made);
    return pipeline.get();
  }

  Id open_encoder() {
    if (!commands_) {
      Owned commands = Owned::retain(send(queue_.get(), "commandBuffer"));
      require(static_cast<bool>(commands), "no command buffer can be made");
      encoder_ = Owned::retain(send(commands.get(), "computeCommandEncoder"));
      require(static_cast<bool>(encoder_), "no encoder can be made");
      commands_ = std::move(commands);
    }
    return encoder_.get();
  }

  const Owned device_;
  DeviceProperties properties_;
  Owned queue_, library_;
  Owned nothing_;  // a buffer for bindings that are not read
  std::array<Owned, static_cast<size_t>(Kernel::kCount)> pipelines_;
  Owned commands_, encoder_;  // while there is something to finish
};

// A process without a window is not always given a default device where there is one.
Owned system_device() {
  Owned device(objc::runtime().default_device());
  if (device) return device;
  const Owned all(objc::runtime().all_devices());
  return Owned::retain(all ? send(all.get(), "firstObject") : nullptr);
}

}  // namespace

std::unique_ptr<Device> open_device(std::string& reason) {
  const objc::Runtime& runtime = objc::runtime();
  if (!runtime.complete) {
    reason = runtime.missing;
    return nullptr;
  }
  try {
    const Pool pool;
    Owned device = system_device();
    if (device) return std::make_unique<MetalDevice>(std::move(device));
    reason = "the system has no Metal device";
  } catch (const Error& error) {
    reason = error.what();
  }
  return nullptr;
}

}  // namespace realm::metal
