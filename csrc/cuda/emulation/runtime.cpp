// The runtime over memory of this process that only kernels and copies can touch (memory.h). Fresh
// memory is full of NaN. A graph is a list of closures; while one is captured,
// calls that a device refuses then are refused here.
#include "cuda/emulation/runtime.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "base/error.h"
#include "cuda/emulation/memory.h"
#include "cuda/launch_counts.h"
#include "cuda/runtime.h"

namespace realm::simt {

// Never destroyed: a thread may still compute when the process ends.
DeviceState& device_state() {
  static DeviceState& state = *new DeviceState;
  return state;
}

}  // namespace realm::simt

struct CUgraphExec_st {
  struct Launch {
    const char* kernel;
    std::function<void()> run;
  };
  std::vector<Launch> launches;
};

namespace realm::cuda {

namespace {

// Of this thread's capture, if one is under way.
std::unique_ptr<CUgraphExec_st>& captured() {
  thread_local std::unique_ptr<CUgraphExec_st> graph;
  return graph;
}

// Memory is taken and given back by any thread.
std::mutex& memory_counts() {
  static std::mutex one;
  return one;
}

void require_alive(const char* call) {
  auto& state = simt::device_state();
  if (state.fail_call_in > 0 && state.failing_call == call && --state.fail_call_in == 0)
    state.lost = true;
  if (state.lost) fail(ErrorCode::kDevice, "CUDA: ", call, ": the emulated device was lost");
}

void require_no_capture(const char* call) {
  require_alive(call);
  if (captured()) fail(ErrorCode::kDevice, "CUDA: ", call, " while launches are captured");
}

}  // namespace

int count_devices(std::string&) {
  return 1;
}

DeviceProperties describe_device(int) {
  require_alive("reading a device's properties");
  const auto& state = simt::device_state();
  return {"emulated on the CPU", state.major, state.minor, 1, state.memory_bytes};
}

std::vector<std::string> dense_library_files() {
  return {};  // a card's library would follow our pointers on the card
}

void select_device(int) {
  require_alive("choosing a device");
}

Stream make_stream() {
  require_alive("making a stream");
  return nullptr;
}

void free_stream(Stream) noexcept {}

void await_stream(Stream) {
  require_no_capture("waiting for the device");
}

MemoryState memory_state() {
  require_alive("asking for free memory");
  const std::lock_guard lock(memory_counts());
  const auto& state = simt::device_state();
  return {state.memory_bytes - state.used_bytes, state.memory_bytes};
}

void* allocate_memory(uint64_t bytes) {
  auto& state = simt::device_state();
  require_no_capture("allocating memory");
  const std::lock_guard lock(memory_counts());
  if (bytes > state.memory_bytes - state.used_bytes) return nullptr;
  void* memory = simt::take_memory(bytes);
  if (!memory) return nullptr;
  state.used_bytes += bytes;
  ++state.n_allocations;
  return memory;
}

void free_memory(void* memory) noexcept {
  if (!memory) return;
  {
    const std::lock_guard lock(memory_counts());
    simt::device_state().used_bytes -= simt::memory_size(memory);
  }
  simt::give_memory_back(memory);
}

void copy_to_device(void* device, const void* host, uint64_t bytes, Stream) {
  require_no_capture("uploading");
  const simt::Visible visible;
  if (bytes > 0) std::memcpy(device, host, bytes);
  ++simt::device_state().n_uploads;
}

void copy_to_host(void* host, const void* device, uint64_t bytes, Stream) {
  require_no_capture("downloading");
  simt::device_state().bytes_downloaded += bytes;
  const simt::Visible visible;
  if (bytes > 0) std::memcpy(host, device, bytes);
}

void clear_memory(void* device, uint64_t bytes, Stream) {
  require_alive("clearing memory");
  simt::issue("clear", [=] { std::memset(device, 0, bytes); });
}

void begin_capture(Stream) {
  require_no_capture("beginning a capture");
  captured() = std::make_unique<CUgraphExec_st>();
}

Graph end_capture(Stream) {
  std::unique_ptr<CUgraphExec_st> graph = std::move(captured());
  require_alive("ending a capture");
  if (simt::device_state().fails_captures)
    fail(ErrorCode::kDevice, "CUDA: ending a capture: as the test wishes");
  return graph.release();
}

void abandon_capture(Stream) noexcept {
  captured().reset();
}

void launch_graph(Graph graph, Stream) {
  require_no_capture("launching a graph");
  ++simt::device_state().n_graphs_launched;
  for (const auto& launch : graph->launches) {
    check_launch(launch.kernel);
    const simt::Visible visible;
    launch.run();
  }
}

void free_graph(Graph graph) noexcept {
  delete graph;
}

void check_launch(const char* kernel) {
  auto& state = simt::device_state();
  if (state.fail_launch_in > 0 && --state.fail_launch_in == 0) state.lost = true;
  if (state.lost) fail(ErrorCode::kDevice, "CUDA: launching ", kernel, ": the device was lost");
  ++state.n_launches;
  count_launch(kernel);
}

}  // namespace realm::cuda

namespace realm::simt {

void issue(const char* kernel, std::function<void()> launch) {
  if (cuda::captured()) {
    cuda::captured()->launches.push_back({kernel, std::move(launch)});
  } else {
    cuda::check_launch(kernel);
    const Visible visible;
    launch();
  }
}

}  // namespace realm::simt
