// How the Objective-C runtime is loaded, over a dynamic loader of the test's own.
#include <algorithm>
#include <dlfcn.h>
#include <string>
#include <vector>

#include "cpp/harness.h"

namespace {

// What is not there, and what was asked for.
struct FakeLoader {
  std::string absent;
  std::vector<std::string> libraries;
};
FakeLoader& fake_loader() {
  static FakeLoader one;
  return one;
}

void* fake_dlopen(const char* path, int) {
  fake_loader().libraries.emplace_back(path);
  return path == fake_loader().absent ? nullptr : const_cast<char*>(path);
}
void* fake_dlsym(void* library, const char* name) {
  return name == fake_loader().absent ? nullptr : library;
}

}  // namespace

// The text of the system's own.
#define dlopen fake_dlopen
#define dlsym fake_dlsym
#include "metal/objc.cpp"
#undef dlopen
#undef dlsym

using namespace realm;
using metal::objc::Runtime;

TEST(everything_that_the_host_calls_is_loaded) {
  fake_loader() = {};
  const Runtime r = metal::objc::load();
  EXPECT(r.complete && r.missing.empty());
  EXPECT(r.get_class && r.register_selector && r.send_message && r.push_pool && r.pop_pool);
  EXPECT(r.default_device && r.all_devices);
}

TEST(a_program_that_draws_nothing_loads_what_its_default_device_needs) {
  fake_loader() = {};
  metal::objc::load();
  const auto position = [](const char* name) {
    const auto& all = fake_loader().libraries;
    return std::find_if(all.begin(), all.end(),
                        [&](const std::string& one) { return test::contains(one, name); }) -
           all.begin();
  };
  EXPECT_EQ(fake_loader().libraries.size(), size_t{3});
  EXPECT(position("CoreGraphics.framework/CoreGraphics") < position("Metal.framework/Metal"));
}

TEST(what_a_system_lacks_is_named) {
  for (const char* absent : {"/usr/lib/libobjc.A.dylib",
                             "/System/Library/Frameworks/CoreGraphics.framework/CoreGraphics",
                             "/System/Library/Frameworks/Metal.framework/Metal", "objc_msgSend",
                             "MTLCreateSystemDefaultDevice", "MTLCopyAllDevices"}) {
    fake_loader() = {absent, {}};
    const Runtime r = metal::objc::load();
    EXPECT(!r.complete);
    EXPECT(test::contains(r.missing, absent));
  }
}
