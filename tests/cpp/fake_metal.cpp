#include "cpp/fake_metal.h"

#include <algorithm>
#include <cstring>

#include "metal/kernels.h"

// objc_msgSend: finds the method and jumps to it with the message's own arguments, none of which is
// a float.
extern "C" void realm_fake_send() asm("realm_fake_send");
extern "C" void* realm_fake_find(realm::test::Object* object,
                                 const char* selector) asm("realm_fake_find");
void* realm_fake_find(realm::test::Object* object, const char* selector) {
  return realm::test::method_of(object, selector);
}
#if defined(__x86_64__)
asm(R"(
.text
.globl realm_fake_send
realm_fake_send:
  push %rdi
  push %rsi
  push %rdx
  push %rcx
  push %r8
  push %r9
  sub $8, %rsp
  call realm_fake_find
  add $8, %rsp
  pop %r9
  pop %r8
  pop %rcx
  pop %rdx
  pop %rsi
  pop %rdi
  jmp *%rax
)");
#elif defined(__aarch64__)
asm(R"(
.text
.globl realm_fake_send
.p2align 2
realm_fake_send:
  stp x29, x30, [sp, #-96]!
  mov x29, sp
  stp x0, x1, [sp, #16]
  stp x2, x3, [sp, #32]
  stp x4, x5, [sp, #48]
  stp x6, x7, [sp, #64]
  str x8, [sp, #80]
  bl realm_fake_find
  mov x16, x0
  ldp x0, x1, [sp, #16]
  ldp x2, x3, [sp, #32]
  ldp x4, x5, [sp, #48]
  ldp x6, x7, [sp, #64]
  ldr x8, [sp, #80]
  ldp x29, x30, [sp], #96
  br x16
)");
#endif

namespace realm::test {

namespace {

using SelectorName = const char*;
using Methods = std::map<std::string, void*>;

template <class Body>
void* method(Body* function) {
  return reinterpret_cast<void*>(function);
}

Object* nothing(Object*, SelectorName) {
  return nullptr;
}

Object* retained(Object* self, SelectorName) {
  retain(self);
  return self;
}
void released(Object* self, SelectorName) {
  release(self);
}

// The one kernel of that name with those launch parameters: families are in the table once each,
// but a norm has two entries.
metal::Kernel kernel_of(const std::string& name, Integer threads) {
  for (int i = 0; i < static_cast<int>(metal::Kernel::kCount); ++i) {
    const auto kernel = static_cast<metal::Kernel>(i);
    const metal::KernelInfo& info = metal::kernel_info(kernel);
    if (name == info.name && threads == info.threads) return kernel;
  }
  complain("no kernel " + name + " has so many threads");
  return metal::Kernel::kCount;
}

void dispatch(Encoder* self, SelectorName, MetalSize groups, MetalSize threads) {
  if (!self->pipeline || self->is_ended) return complain("a dispatch has no pipeline");
  if (threads.height != 1 || threads.depth != 1) complain("threadgroups are flat");
  const metal::Kernel kernel = kernel_of(self->pipeline->name, threads.width);
  if (kernel == metal::Kernel::kCount) return;
  const metal::KernelInfo& info = metal::kernel_info(kernel);
  if (info.shared_bytes > 0 && self->shared_bytes != info.shared_bytes)
    complain(concat(info.name, ": other threadgroup memory than it needs"));
  // What earlier dispatches bound beyond this one's bindings stays bound, as on a device.
  std::vector<metal::Place> places;
  const std::string bindings = info.bindings;
  auto n = static_cast<size_t>(std::count(bindings.begin(), bindings.end(), ',')) + 1;
  if (info.constants_bytes > 0) {
    --n;
    if (self->constants_at != n || self->constants.size() != info.constants_bytes)
      complain(concat(info.name, ": constants are not where they are read"));
  }
  for (size_t i = 0; i < n; ++i) {
    if (!self->buffers.contains(i)) return complain(concat(info.name, ": a buffer is not bound"));
    places.push_back(self->buffers[i]);
  }
  const auto size = [](Integer one) { return static_cast<int64_t>(one); };
  self->commands->device->dispatch({kernel,
                                    {size(groups.width), size(groups.height), size(groups.depth)},
                                    places,
                                    self->residents,
                                    info.constants_bytes > 0 ? self->constants.data() : nullptr,
                                    info.constants_bytes});
}

// Metal may leave objects of its own to the pool of whoever asks.
void leave_something() {
  autoreleased(make<Text>("of Metal's own"));
}

Object* new_buffer(Gpu* self, SelectorName, Integer bytes, Integer options) {
  leave_something();
  if (bytes > self->device->properties().buffer_bytes)
    complain("a buffer is longer than one can be");
  if (options != 0) complain("memory is not shared");
  metal::MetalBuffer* buffer = self->device->make_buffer(bytes);
  return buffer ? make<GpuMemory>(self->device, buffer) : nullptr;
}
Object* map_buffer(Gpu* self, SelectorName, void* begin, Integer bytes, Integer options, Id block) {
  leave_something();
  if (bytes > self->device->properties().buffer_bytes)
    complain("a buffer is longer than one can be");
  if (options != 0 || block) complain("memory is mapped in another way");
  metal::MetalBuffer* buffer = self->device->map_memory(begin, bytes);
  return buffer ? make<GpuMemory>(self->device, buffer) : nullptr;
}
Object* new_library(Gpu*, SelectorName, Text* source, Options* options, Object** error) {
  if (source->text != metal::kKernelSource) complain("another source is compiled");
  if (options->fast_math || options->fast_functions || options->version != 3 << 16)
    complain("other options are compiled with");
  if (fake_metal().compiles) return make<Library>();
  *error = autoreleased(make<Failure>("metal/norm.metal:7: error: expected ';'"));
  return nullptr;
}
Object* new_pipeline(Gpu*, SelectorName, Function* function, Object** error) {
  static_cast<void>(error);
  return make<Pipeline>(function->name);
}
Object* new_function(Library*, SelectorName, Text* name) {
  return make<Function>(name->text);
}

Object* command_buffer(Queue* self, SelectorName) {
  return autoreleased(make<Commands>(self->device));
}
Object* encoder_of(Commands* self, SelectorName) {
  if (self->is_encoding || self->is_committed) complain("a second encoder is opened");
  self->is_encoding = true;
  return autoreleased(make<Encoder>(self));
}
void commit(Commands* self, SelectorName) {
  if (self->is_encoding || self->is_committed) complain("what is encoded is not ended");
  self->is_committed = true;
  ++fake_metal().n_commits;
}
void wait(Commands* self, SelectorName) {
  if (!self->is_committed) complain("what is waited for was not committed");
  self->device->finish();
  self->is_done = true;
}
Integer status(Commands* self, SelectorName) {
  return !self->is_done ? 2 : fake_metal().completes ? 4 : 5;
}
Object* command_error(Commands*, SelectorName) {
  return autoreleased(make<Failure>("Caused GPU Hang Error"));
}

void keep(Encoder* self, Object* object) {
  retain(object);
  self->commands->used.push_back(object);
}
void set_pipeline(Encoder* self, SelectorName, Pipeline* pipeline) {
  keep(self, pipeline);
  self->pipeline = pipeline;
  self->residents.clear();
}
void set_buffer(Encoder* self, SelectorName, GpuMemory* memory, Integer offset, Integer index) {
  if (!memory) return complain(concat("nothing is bound at ", index));
  keep(self, memory);
  self->buffers[index] = {memory->buffer, offset};
}
void set_bytes(Encoder* self, SelectorName, const void* bytes, Integer length, Integer index) {
  if (length > 4096) complain("constants are too large for setBytes");
  const auto* begin = static_cast<const std::byte*>(bytes);
  self->constants.assign(begin, begin + length);
  self->constants_at = index;
}
void set_shared(Encoder* self, SelectorName, Integer length, Integer index) {
  if (index != 0 || length % 16 != 0) complain("threadgroup memory is not in units of 16 bytes");
  self->shared_bytes = length;
}
void use_resource(Encoder* self, SelectorName, GpuMemory* memory, Integer usage) {
  if (usage != 3) complain("a resource is not read and written");
  keep(self, memory);
  self->residents.push_back(memory->buffer);
}
void end_encoding(Encoder* self, SelectorName) {
  self->is_ended = true;
  self->commands->is_encoding = false;
}

signed char responds(Object*, SelectorName, SelectorName asked) {
  if (asked == std::string("gpuAddress")) return fake_metal().has_addresses;
  if (asked == std::string("setMathMode:")) return fake_metal().has_math_modes;
  return 0;
}
Object* device_name(Gpu*, SelectorName) {
  return autoreleased(make<Text>("Fake M2"));
}
signed char supports(Gpu*, SelectorName, long family) {
  return family <= fake_metal().newest_family;
}
uint64_t working_set(Gpu* self, SelectorName) {
  return self->device->properties().memory_bytes;
}
uint64_t allocated(Gpu* self, SelectorName) {
  return self->device->properties().memory_bytes - self->device->free_bytes();
}
Integer buffer_length(Gpu* self, SelectorName) {
  return self->device->properties().buffer_bytes;
}
Integer shared_length(Gpu*, SelectorName) {
  return fake_metal().shared_bytes;
}
Object* new_queue(Gpu* self, SelectorName) {
  return make<Queue>(self->device);
}
void* contents(GpuMemory* self, SelectorName) {
  return self->device->host_address(self->buffer);
}
uint64_t gpu_address(GpuMemory* self, SelectorName) {
  return self->device->gpu_address(self->buffer);
}
Integer most_threads(Pipeline*, SelectorName) {
  return fake_metal().most_threads;
}
Integer simd_threads(Pipeline*, SelectorName) {
  return fake_metal().simd_threads;
}
const char* utf8(Text* self, SelectorName) {
  return self->text.c_str();
}
Object* description(Failure* self, SelectorName) {
  return autoreleased(make<Text>(self->text));
}
void set_version(Options* self, SelectorName, Integer version) {
  self->version = version;
}
void set_fast_math(Options* self, SelectorName, signed char on) {
  self->fast_math = self->fast_functions = on != 0;
}
void set_math_mode(Options* self, SelectorName, long mode) {
  self->fast_math = mode != 0;
}
void set_functions(Options* self, SelectorName, long functions) {
  self->fast_functions = functions != 1;
}
Object* first_of(Gpus* self, SelectorName) {
  return self->first;
}

// Classes are objects too; they live as long as the program.
struct Class : Object {
  explicit Class(const char* name) : Object(name) { --fake_metal().n_alive; }
};
Object* string_of(Class*, SelectorName, const char* utf8_text) {
  return autoreleased(make<Text>(utf8_text));
}
Object* alloc_options(Class*, SelectorName) {
  return make<Options>();
}
Object* init(Object* self, SelectorName) {
  return self;
}

Class& string_class() {
  static Class one("NSString class");
  return one;
}
Class& options_class() {
  static Class one("MTLCompileOptions class");
  return one;
}

const std::map<std::string, Methods>& all_methods() {
  static const std::map<std::string, Methods> methods = {
      {"NSString class", {{"stringWithUTF8String:", method(string_of)}}},
      {"MTLCompileOptions class", {{"alloc", method(alloc_options)}}},
      {"NSString", {{"UTF8String", method(utf8)}}},
      {"NSError", {{"localizedDescription", method(description)}}},
      {"MTLCompileOptions",
       {{"init", method(init)},
        {"setLanguageVersion:", method(set_version)},
        {"respondsToSelector:", method(responds)},
        {"setMathMode:", method(set_math_mode)},
        {"setMathFloatingPointFunctions:", method(set_functions)},
        {"setFastMathEnabled:", method(set_fast_math)}}},
      {"NSArray", {{"firstObject", method(first_of)}}},
      {"MTLDevice",
       {{"name", method(device_name)},
        {"supportsFamily:", method(supports)},
        {"recommendedMaxWorkingSetSize", method(working_set)},
        {"currentAllocatedSize", method(allocated)},
        {"maxBufferLength", method(buffer_length)},
        {"maxThreadgroupMemoryLength", method(shared_length)},
        {"newCommandQueue", method(new_queue)},
        {"newBufferWithLength:options:", method(new_buffer)},
        {"newBufferWithBytesNoCopy:length:options:deallocator:", method(map_buffer)},
        {"newLibraryWithSource:options:error:", method(new_library)},
        {"newComputePipelineStateWithFunction:error:", method(new_pipeline)}}},
      {"MTLBuffer",
       {{"contents", method(contents)},
        {"gpuAddress", method(gpu_address)},
        {"respondsToSelector:", method(responds)}}},
      {"MTLLibrary", {{"newFunctionWithName:", method(new_function)}}},
      {"MTLFunction", {}},
      {"MTLComputePipelineState",
       {{"maxTotalThreadsPerThreadgroup", method(most_threads)},
        {"threadExecutionWidth", method(simd_threads)}}},
      {"MTLCommandQueue", {{"commandBuffer", method(command_buffer)}}},
      {"MTLCommandBuffer",
       {{"computeCommandEncoder", method(encoder_of)},
        {"commit", method(commit)},
        {"waitUntilCompleted", method(wait)},
        {"status", method(status)},
        {"error", method(command_error)}}},
      {"MTLComputeCommandEncoder",
       {{"setComputePipelineState:", method(set_pipeline)},
        {"setBuffer:offset:atIndex:", method(set_buffer)},
        {"setBytes:length:atIndex:", method(set_bytes)},
        {"setThreadgroupMemoryLength:atIndex:", method(set_shared)},
        {"useResource:usage:", method(use_resource)},
        {"dispatchThreadgroups:threadsPerThreadgroup:", method(dispatch)},
        {"endEncoding", method(end_encoding)}}},
  };
  return methods;
}

}  // namespace

void* method_of(Object* object, const char* selector) {
  if (!object) return method(nothing);
  const bool is_class = object == &string_class() || object == &options_class();
  if (!is_class && !alive().contains(object)) {
    complain(concat("a dead object is sent ", selector));
    return method(nothing);
  }
  if (std::strcmp(selector, "retain") == 0) return method(retained);
  if (std::strcmp(selector, "release") == 0) return method(released);
  const Methods& methods = all_methods().at(object->class_name);
  const auto found = methods.find(selector);
  if (found != methods.end()) return found->second;
  complain(concat(object->class_name, " does not answer ", selector));
  return method(nothing);
}

}  // namespace realm::test

namespace realm::metal::objc {

#if defined(__x86_64__) || defined(__aarch64__)

// In the place of objc.cpp's.
const Runtime& runtime() {
  static const Runtime one = [] {
    Runtime r;
    r.get_class = [](const char* name) -> void* {
      if (name == std::string("NSString")) return &test::string_class();
      return &test::options_class();
    };
    r.register_selector = [](const char* name) -> Selector { return const_cast<char*>(name); };
    r.send_message = realm_fake_send;
    r.push_pool = []() -> void* {
      test::pools().emplace_back();
      return nullptr;
    };
    r.pop_pool = [](void*) {
      const auto dropped = std::move(test::pools().back());
      test::pools().pop_back();
      for (test::Object* object : dropped) test::release(object);
    };
    r.default_device = []() -> Id {
      return test::fake_metal().has_default_device ? test::make<test::Gpu>() : nullptr;
    };
    r.all_devices = []() -> Id {
      return test::make<test::Gpus>(test::fake_metal().has_devices ? test::make<test::Gpu>()
                                                                   : nullptr);
    };
    r.complete = true;
    return r;
  }();
  return one;
}

#else

const Runtime& runtime() {
  static const Runtime none;
  return none;
}

#endif

}  // namespace realm::metal::objc
