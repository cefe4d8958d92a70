#include "engine/speculative/call_drafter.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

#include "base/error.h"

namespace realm {

struct CallDrafter::Desk {
  struct Question {
    std::vector<int32_t> tokens;
    int64_t n_wanted;
  };

  explicit Desk(GuessCall function) : call(std::move(function)) {}

  // The thread's work, until the drafter is gone.
  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      changed.wait(lock, [this] { return is_closed || question; });
      if (is_closed) break;
      Question asked = std::move(*question);
      lock.unlock();
      Draft draft = answer_to(std::move(asked));
      lock.lock();
      question.reset();
      answer = std::move(draft);
      changed.notify_all();
    }
    lock.unlock();
    call = nullptr;
  }

  Draft answer_to(Question asked) const {
    Draft draft;
    try {
      draft.tokens = call(std::move(asked.tokens), asked.n_wanted);
      if (draft.tokens.empty()) draft.delay = "the drafter had no guess";
    } catch (const std::exception& error) {
      draft.failure = concat("the drafter raised ", error.what());
    }
    return draft;
  }

  GuessCall call;  // touched by the thread alone once that runs
  std::mutex mutex;
  std::condition_variable changed;
  bool has_thread = false, is_closed = false;
  std::optional<Question> question;  // until it is answered
  std::optional<Draft> answer;       // to the last question
};

CallDrafter::CallDrafter(GuessCall call, std::chrono::milliseconds limit)
    : limit_(limit), desk_(std::make_shared<Desk>(std::move(call))) {}

CallDrafter::~CallDrafter() {
  const std::lock_guard lock(desk_->mutex);
  desk_->is_closed = true;
  desk_->changed.notify_all();
}

void CallDrafter::propose(std::span<const DraftRequest> requests, std::span<Draft> drafts) {
  for (size_t i = 0; i < requests.size(); ++i) ask(requests[i], drafts[i]);
}

void CallDrafter::ask(const DraftRequest& request, Draft& draft) {
  std::unique_lock lock(desk_->mutex);
  if (!desk_->has_thread) {
    std::thread([desk = desk_] { desk->serve(); }).detach();
    desk_->has_thread = true;
  }
  if (desk_->question) {
    draft.failure = "the drafter has not come back from an earlier call";
    return;
  }
  desk_->answer.reset();
  desk_->question.emplace(
      Desk::Question{{request.tokens.begin(), request.tokens.end()}, request.n_wanted});
  desk_->changed.notify_all();
  if (!desk_->changed.wait_for(lock, limit_, [this] { return desk_->answer.has_value(); })) {
    draft.failure = concat("the drafter took longer than ", limit_.count(), " ms");
    return;
  }
  draft = std::move(*desk_->answer);
}

void CallDrafter::settle(uint64_t, size_t) noexcept {}

void CallDrafter::forget(uint64_t) noexcept {}

}  // namespace realm
