#include "metal/objc.h"

#include <dlfcn.h>
#include <type_traits>

namespace realm::metal::objc {

namespace {

constexpr char kObjc[] = "/usr/lib/libobjc.A.dylib";
// Without it Metal gives a program that draws nothing no default device.
constexpr char kCoreGraphics[] = "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics";
constexpr char kMetal[] = "/System/Library/Frameworks/Metal.framework/Metal";

Runtime load() {
  Runtime r;
  const auto open = [&](const char* path) {
    void* library = dlopen(path, RTLD_LAZY | RTLD_GLOBAL);
    if (!library && r.missing.empty()) r.missing = std::string(path) + " cannot be loaded";
    return library;
  };
  void* objc = open(kObjc);
  void* graphics = open(kCoreGraphics);
  void* metal = open(kMetal);
  if (!objc || !graphics || !metal) return r;
  const auto find = [&](void* library, const char* name, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(library, name));
    if (!function && r.missing.empty()) r.missing = std::string(name) + " is not there";
  };
  find(objc, "objc_getClass", r.get_class);
  find(objc, "sel_registerName", r.register_selector);
  find(objc, "objc_msgSend", r.send_message);
  find(objc, "objc_autoreleasePoolPush", r.push_pool);
  find(objc, "objc_autoreleasePoolPop", r.pop_pool);
  find(metal, "MTLCreateSystemDefaultDevice", r.default_device);
  find(metal, "MTLCopyAllDevices", r.all_devices);
  r.complete = r.missing.empty();
  return r;
}

}  // namespace

const Runtime& runtime() {
  static const Runtime one = load();
  return one;
}

}  // namespace realm::metal::objc
