#include <cuda_runtime_api.h>

#include "base/error.h"
#include "cuda/launch_counts.h"
#include "cuda/runtime.h"

namespace realm::cuda {

namespace {

std::string describe(cudaError_t status) {
  return concat(cudaGetErrorName(status), ": ", cudaGetErrorString(status));
}

void require(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky is told once
  fail(ErrorCode::kDevice, "CUDA: ", call, ": ", describe(status));
}

// A captured copy would read host memory when the graph runs, long after it was reused.
void require_no_capture(cudaStream_t stream, const char* call) {
  cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
  require(cudaStreamIsCapturing(stream, &status), call);
  if (status != cudaStreamCaptureStatusNone)
    fail(ErrorCode::kDevice, "CUDA: ", call, " while launches are captured");
}

// The runtime has one error for a driver that is too old and for none.
std::string describe_driver() {
  int version = 0;
  if (cudaDriverGetVersion(&version) != cudaSuccess || version == 0)
    return "no NVIDIA driver is installed";
  return concat("the NVIDIA driver is of CUDA ", version / 1000, ".", version % 1000 / 10,
                "; this build needs one of CUDA ", CUDART_VERSION / 1000, " or later");
}

}  // namespace

int count_devices(std::string& reason) {
  int n = 0;
  const cudaError_t status = cudaGetDeviceCount(&n);
  if (status == cudaSuccess) return n;
  reason = status == cudaErrorInsufficientDriver ? describe_driver() : describe(status);
  return 0;
}

DeviceProperties describe_device(int index) {
  cudaDeviceProp properties;
  require(cudaGetDeviceProperties(&properties, index), "reading a device's properties");
  return {properties.name, properties.major, properties.minor, properties.multiProcessorCount,
          properties.totalGlobalMem};
}

std::vector<std::string> dense_library_files() {
  return {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
}

void select_device(int index) {
  require(cudaSetDevice(index), "choosing a device");
}

Stream make_stream() {
  cudaStream_t stream = nullptr;
  require(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "making a stream");
  return stream;
}

void free_stream(Stream stream) noexcept {
  cudaStreamDestroy(stream);
}

void await_stream(Stream stream) {
  require(cudaStreamSynchronize(stream), "waiting for the device");
}

MemoryState memory_state() {
  size_t free_bytes = 0, total_bytes = 0;
  require(cudaMemGetInfo(&free_bytes, &total_bytes), "asking for free memory");
  return {free_bytes, total_bytes};
}

void* allocate_memory(uint64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  require(status, "allocating memory");
  return memory;
}

void free_memory(void* memory) noexcept {
  cudaFree(memory);
}

void copy_to_device(void* device, const void* host, uint64_t bytes, Stream stream) {
  require_no_capture(stream, "uploading");
  require(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream), "uploading");
}

void copy_to_host(void* host, const void* device, uint64_t bytes, Stream stream) {
  require_no_capture(stream, "downloading");
  require(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream), "downloading");
}

void clear_memory(void* device, uint64_t bytes, Stream stream) {
  require(cudaMemsetAsync(device, 0, bytes, stream), "clearing memory");
}

void begin_capture(Stream stream) {
  // Other threads may allocate meanwhile; a call of this one that cannot be captured spoils it.
  require(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "beginning a capture");
}

Graph end_capture(Stream stream) {
  cudaGraph_t kept = nullptr;
  require(cudaStreamEndCapture(stream, &kept), "ending a capture");
  cudaGraphExec_t graph = nullptr;
  const cudaError_t status = cudaGraphInstantiate(&graph, kept, 0);
  cudaGraphDestroy(kept);
  require(status, "making a graph");
  return graph;
}

void abandon_capture(Stream stream) noexcept {
  cudaGraph_t kept = nullptr;
  if (cudaStreamEndCapture(stream, &kept) == cudaSuccess) cudaGraphDestroy(kept);
  cudaGetLastError();
}

void launch_graph(Graph graph, Stream stream) {
  require(cudaGraphLaunch(graph, stream), "launching a graph");
}

void free_graph(Graph graph) noexcept {
  cudaGraphExecDestroy(graph);
}

void check_launch(const char* kernel) {
  const cudaError_t status = cudaGetLastError();
  if (status != cudaSuccess)
    fail(ErrorCode::kDevice, "CUDA: launching ", kernel, ": ", describe(status));
  count_launch(kernel);
}

}  // namespace realm::cuda
