// Which backends this build has and what they find on this machine. Each backend defines its probe
// in its own folder; a backend that was not built is a file (no_cuda.cpp, no_metal.cpp) that says
// so. Nobody above sees a backend's folder: this header is the only way in.
//
// A probe never throws and never needs a driver: what is missing is a reason, in words. Probes may
// be called from any thread; the first one of an accelerator may take seconds, so nothing calls
// them at load time. Seen by .cu files: valid C++17.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/kinds.h"

namespace realm {

struct DeviceInfo {
  std::string kind;  // "cpu", "cuda", "metal"
  int index = 0;     // among the devices of its kind
  std::string name;
  std::vector<std::string> features;
  uint64_t memory_bytes = 0;  // 0: not known
};

struct BackendProbe {
  std::string kind;
  bool available = false;
  std::string reason;  // why not, or what a user may want to know; may be empty when available
  std::vector<DeviceInfo> devices;
};

BackendProbe probe_cpu();
BackendProbe probe_cuda();
BackendProbe probe_metal();

class Backend;

// Runs on `n_threads` of the process's shared pool; 0 means all usable processors.
std::unique_ptr<Backend> make_cpu_backend(int n_threads,
                                          ActivationKind activations = ActivationKind::kInt8);

// On the CUDA device of that index. `deterministic`: a row's bits depend on its own context alone,
// at some cost. Throws kDevice with the reason if there is no such device.
std::unique_ptr<Backend> make_cuda_backend(int device, bool deterministic,
                                           ActivationKind activations = ActivationKind::kInt8);

// On the system's Metal device; `deterministic` as above. Throws kDevice with the reason if there
// is none.
std::unique_ptr<Backend> make_metal_backend(bool deterministic);

// By name: "cpu", "cuda", "cuda:1", "metal", or "auto", which is what the environment's
// REALM_BACKEND names, else the CPU until the other kernels have been run on hardware. `n_threads`
// are the CPU's, `deterministic` the others': the CPU always is. Metal computes in f32 whatever
// `activations` says. Throws kDevice for a device that is not there, kInvalidRequest for a name
// that means nothing.
std::unique_ptr<Backend> make_backend(const std::string& device, int n_threads = 0,
                                      ActivationKind activations = ActivationKind::kInt8,
                                      bool deterministic = false);

// What this machine's CPU can do at most: no program that reads its weights from memory, or
// multiplies them as bytes, is faster. Medians of the moments measured, all threads together.
struct Ceilings {
  std::string level;  // the instruction set measured: the one that kernels use
  int n_threads = 0;
  double read_bytes_per_s = 0;  // of memory far larger than the caches
  double int8_macs_per_s = 0;   // multiply-accumulates of bytes
  double f32_macs_per_s = 0;
  double clock_hz = 0;  // of one thread, when it alone works
};

// Takes about `seconds`, above 0 to 60, and for that time up to 1 GiB of memory. 0 threads: all
// usable processors. Throws kCancelled once `cancel` is set.
Ceilings measure_cpu_ceilings(int n_threads, double seconds,
                              const std::atomic<bool>* cancel = nullptr);

// All probes, in that order.
std::vector<BackendProbe> probe_backends();

}  // namespace realm
