// The little that the backend needs of a CUDA runtime. Two bodies: runtime_cudart.cpp over the
// static cudart, which opens the driver at the first call and not before, and
// emulation/runtime.cpp over the emulated device. Everything throws kDevice with the runtime's own
// words, but for the functions that say otherwise. Seen by .cu files: valid C++17.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// As the runtime's own header names them.
struct CUstream_st;
struct CUgraphExec_st;

namespace realm::cuda {

using Stream = CUstream_st*;
using Graph = CUgraphExec_st*;  // launches that were kept, to be run again

struct DeviceProperties {
  std::string name;
  int major = 0, minor = 0, n_multiprocessors = 0;
  uint64_t memory_bytes = 0;
};

// How many devices there are; zero with a reason in words. Never throws.
int count_devices(std::string& reason);
DeviceProperties describe_device(int index);

// Files that may hold the vendor's matrix products (cuda/dense_library.h), the likeliest first.
std::vector<std::string> dense_library_files();

// What follows in this thread goes to this device.
void select_device(int index);
Stream make_stream();
void free_stream(Stream stream) noexcept;
void await_stream(Stream stream);

struct MemoryState {
  uint64_t free_bytes = 0, total_bytes = 0;
};
MemoryState memory_state();
// Null when there is not so much left.
void* allocate_memory(uint64_t bytes);
void free_memory(void* memory) noexcept;

// In the stream's order. The host memory of an upload may be reused at once; that of a download
// holds its bytes after await_stream().
void copy_to_device(void* device, const void* host, uint64_t bytes, Stream stream);
void copy_to_host(void* host, const void* device, uint64_t bytes, Stream stream);
void clear_memory(void* device, uint64_t bytes, Stream stream);

// From here on this thread's launches on the stream are kept and not run, their arguments by value.
// Until the capture ends nothing may be copied, allocated or awaited: copies throw, and the rest
// spoils the capture.
void begin_capture(Stream stream);
// What was kept; free_graph() ends it. Throws kDevice for a spoilt capture, which is over then too.
Graph end_capture(Stream stream);
// Forgets what was kept.
void abandon_capture(Stream stream) noexcept;
void launch_graph(Graph graph, Stream stream);
// A graph that still runs is freed when it has ended.
void free_graph(Graph graph) noexcept;

// After (on the emulated device before) each launch: throws what the launch met.
void check_launch(const char* kernel);

}  // namespace realm::cuda
