// A second stack on the same processor thread, and who runs on it. Tells the address and thread
// sanitizers about every switch, so that each fiber is a thread of its own to both.
#pragma once

#include <cstddef>
#include <memory>

namespace realm::simt {

class Fiber {
 public:
  Fiber();
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Makes the fiber ready to call `entry` on an empty stack. `entry` must end by calling leave().
  // A fiber that had not ended is dropped as it is: nothing on its stack is destroyed.
  void prepare(void (*entry)());
  // Runs the fiber until it pauses or leaves. Called outside of any fiber.
  void resume();
  // Called on the fiber: back to resume()'s caller.
  void pause();
  [[noreturn]] void leave();
  // On a fiber that just began to run, before anything else.
  void arrive();

 private:
  struct Context;

  std::unique_ptr<char[]> stack_;
  std::unique_ptr<Context> context_;
};

}  // namespace realm::simt
