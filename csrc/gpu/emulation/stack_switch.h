// The switch between two stacks of one thread: a dozen instructions of our own on x86-64 and on
// Arm, where macOS and musl have nothing that serves; elsewhere the C library's contexts, slower.
#pragma once

#include <cstddef>

#if !defined(__x86_64__) && !defined(__aarch64__)
#include <ucontext.h>
#define REALM_HAS_NO_SWITCH
#endif

namespace realm::simt {

// A stack that does not run, as it was left.
struct StackContext {
#if defined(REALM_HAS_NO_SWITCH)
  ucontext_t context;
#else
  void* pointer = nullptr;
#endif
};

// The first switch to the context calls `entry` on that memory; it must not return.
void prepare_stack(StackContext& context, char* memory, size_t bytes, void (*entry)());

// Leaves the stack that runs to `from` and goes on where `to` was left.
#if defined(REALM_HAS_NO_SWITCH)
inline void switch_stack(StackContext& from, const StackContext& to) {
  swapcontext(&from.context, &to.context);
}
#else
void switch_stack(StackContext& from, const StackContext& to) asm("realm_switch_stack");
#endif

}  // namespace realm::simt
