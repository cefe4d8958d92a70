// A small Objective-C runtime with as much of Metal as the host calls, over the emulated device:
// the host's own text runs here, message by message. Each method is a function of exactly the
// arguments that Metal's header gives it; objects count their references, and a message to a dead
// object or one that nobody answers is a failure of the test.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "cpp/harness.h"
#include "metal/objc.h"
#include "metal/runtime.h"

namespace realm::test {

using metal::objc::Id;
using metal::objc::Integer;
using metal::objc::Selector;

struct MetalSize {
  Integer width, height, depth;
};

// What a test may change, and what it may ask.
struct FakeMetal {
  long newest_family = 1008;
  Integer shared_bytes = 32 << 10, most_threads = 1024, simd_threads = 32;
  bool has_addresses = true, has_math_modes = true, compiles = true, completes = true;
  bool has_default_device = true, has_devices = true;

  int n_alive = 0;
  int n_commits = 0;
  std::vector<std::string> failures;
};
inline FakeMetal& fake_metal() {
  static FakeMetal one;
  return one;
}

struct Object {
  virtual ~Object() { --fake_metal().n_alive; }
  explicit Object(const char* name) : class_name(name) { ++fake_metal().n_alive; }
  const char* class_name;
  int references = 1;
};

inline void complain(const std::string& what) {
  fake_metal().failures.push_back(what);
}

inline std::set<Object*>& alive() {
  static std::set<Object*> all;
  return all;
}
inline void retain(Object* object) {
  ++object->references;
}
inline void release(Object* object) {
  if (--object->references > 0) return;
  alive().erase(object);
  delete object;
}
template <class T, class... Arguments>
T* make(Arguments&&... arguments) {
  auto* object = new T(std::forward<Arguments>(arguments)...);
  alive().insert(object);
  return object;
}

inline std::vector<std::vector<Object*>>& pools() {
  static std::vector<std::vector<Object*>> all;
  return all;
}
template <class T>
T* autoreleased(T* object) {
  if (pools().empty()) {
    complain("an object is to be released later, and there is no pool");
  } else {
    pools().back().push_back(object);
  }
  return object;
}

struct Text : Object {
  explicit Text(std::string value) : Object("NSString"), text(std::move(value)) {}
  std::string text;
};
struct Failure : Object {
  explicit Failure(std::string value) : Object("NSError"), text(std::move(value)) {}
  std::string text;
};
struct Options : Object {
  Options() : Object("MTLCompileOptions") {}
  Integer version = 0;
  bool fast_math = true, fast_functions = true;
};
struct Gpu : Object {
  Gpu() : Object("MTLDevice"), device(metal::open_device(reason)) {}
  std::string reason;
  std::shared_ptr<metal::Device> device;
};
struct Gpus : Object {  // an array
  explicit Gpus(Gpu* one) : Object("NSArray"), first(one) {}
  ~Gpus() override {
    if (first) release(first);
  }
  Gpu* first;
};
struct GpuMemory : Object {
  GpuMemory(std::shared_ptr<metal::Device> on, metal::MetalBuffer* memory)
      : Object("MTLBuffer"), device(std::move(on)), buffer(memory) {}
  ~GpuMemory() override { device->free_buffer(buffer); }
  std::shared_ptr<metal::Device> device;
  metal::MetalBuffer* buffer;
};
struct Library : Object {
  Library() : Object("MTLLibrary") {}
};
struct Function : Object {
  explicit Function(std::string value) : Object("MTLFunction"), name(std::move(value)) {}
  std::string name;
};
struct Pipeline : Object {
  explicit Pipeline(std::string value)
      : Object("MTLComputePipelineState"), name(std::move(value)) {}
  std::string name;
};
struct Queue : Object {
  explicit Queue(std::shared_ptr<metal::Device> on)
      : Object("MTLCommandQueue"), device(std::move(on)) {}
  std::shared_ptr<metal::Device> device;
};
struct Commands : Object {
  explicit Commands(std::shared_ptr<metal::Device> on)
      : Object("MTLCommandBuffer"), device(std::move(on)) {}
  ~Commands() override {
    for (Object* object : used) release(object);
  }
  std::shared_ptr<metal::Device> device;
  std::vector<Object*> used;
  bool is_encoding = false, is_committed = false, is_done = false;
};
struct Encoder : Object {
  explicit Encoder(Commands* on) : Object("MTLComputeCommandEncoder"), commands(on) { retain(on); }
  ~Encoder() override {
    if (!is_ended) complain("an encoder is dropped before its end");
    release(commands);
  }
  Commands* commands;
  Pipeline* pipeline = nullptr;
  std::map<Integer, metal::Place> buffers;
  std::vector<std::byte> constants;
  Integer constants_at = 0, shared_bytes = 0;
  std::vector<metal::MetalBuffer*> residents;
  bool is_ended = false;
};

// The function that answers a message; complains, and answers with nothing, if there is none.
void* method_of(Object* object, const char* selector);

}  // namespace realm::test
