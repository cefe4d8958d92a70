#include "gpu/emulation/fiber.h"

#include <cstdlib>

#include "gpu/emulation/stack_switch.h"

#if defined(REALM_EMULATION_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(REALM_EMULATION_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace realm::simt {

namespace {

constexpr size_t kStackBytes = 64 << 10;

// Of the thread that runs the fibers.
struct Home {
  StackContext stack;
  const void* stack_bottom = nullptr;
  size_t stack_bytes = 0;
  void* tsan_fiber = nullptr;
};

Home home;

}  // namespace

struct Fiber::Context {
  StackContext stack;
  void* fake_stack = nullptr;
  void* tsan_fiber = nullptr;
};

Fiber::Fiber() : stack_(new char[kStackBytes]), context_(std::make_unique<Context>()) {}

Fiber::~Fiber() {
#if defined(REALM_EMULATION_TSAN)
  if (context_->tsan_fiber) __tsan_destroy_fiber(context_->tsan_fiber);
#endif
}

void Fiber::prepare(void (*entry)()) {
  prepare_stack(context_->stack, stack_.get(), kStackBytes, entry);
  context_->fake_stack = nullptr;
#if defined(REALM_EMULATION_ASAN)
  ASAN_UNPOISON_MEMORY_REGION(stack_.get(), kStackBytes);  // of a fiber that was dropped
#endif
#if defined(REALM_EMULATION_TSAN)
  if (!context_->tsan_fiber) context_->tsan_fiber = __tsan_create_fiber(0);
#endif
}

void Fiber::resume() {
#if defined(REALM_EMULATION_TSAN)
  home.tsan_fiber = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(context_->tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  void* fake_stack = nullptr;
  __sanitizer_start_switch_fiber(&fake_stack, stack_.get(), kStackBytes);
#endif
  switch_stack(home.stack, context_->stack);
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack, nullptr, nullptr);
#endif
}

void Fiber::arrive() {
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_finish_switch_fiber(context_->fake_stack, &home.stack_bottom, &home.stack_bytes);
#endif
}

void Fiber::pause() {
#if defined(REALM_EMULATION_TSAN)
  __tsan_switch_to_fiber(home.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_start_switch_fiber(&context_->fake_stack, home.stack_bottom, home.stack_bytes);
#endif
  switch_stack(context_->stack, home.stack);
  arrive();
}

void Fiber::leave() {
#if defined(REALM_EMULATION_TSAN)
  __tsan_switch_to_fiber(home.tsan_fiber, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(REALM_EMULATION_ASAN)
  __sanitizer_start_switch_fiber(nullptr, home.stack_bottom, home.stack_bytes);
#endif
  switch_stack(context_->stack, home.stack);
  std::abort();  // nobody resumes a fiber that left
}

}  // namespace realm::simt
