#include "engine/request.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/inbox.h"
#include "engine/snapshot.h"

namespace realm {

namespace {

template <class T>
void make_room(std::vector<T>& list, size_t n) {
  const size_t needed = list.size() + n;
  if (needed > list.capacity()) list.reserve(std::max(needed, 2 * list.capacity()));
}

}  // namespace

const char* name_of(RequestState state) {
  switch (state) {
    case RequestState::kWaiting:
      return "waiting";
    case RequestState::kRunning:
      return "running";
    case RequestState::kFinished:
      return "finished";
  }
  return "";
}

Request::Request(uint64_t id, RequestOptions options, Restored restored,
                 const EngineIdentity& engine, std::shared_ptr<Inbox> inbox,
                 std::shared_ptr<Mailbox> mailbox)
    : id_(id),
      options_(std::move(options)),
      restored_(std::move(restored)),
      engine_(engine),
      inbox_(std::move(inbox)),
      mailbox_(std::move(mailbox)) {
  report_.n_prompt = static_cast<int64_t>(options_.prompt.size());
  report_.logits_hash = restored_.logits_hash;
}

int64_t Request::elapsed_ns() const {
  return std::chrono::nanoseconds(Clock::now() - submitted_at_).count();
}

void Request::cancel() {
  changed_.owner().require();
  if (!cancelled_.exchange(true)) inbox_->on_cancel(*this);
}

RequestReport Request::report() const {
  changed_.owner().require();
  const std::lock_guard lock(mutex_);
  return report_;
}

Piece Request::take() {
  changed_.owner().require();
  const std::lock_guard lock(mutex_);
  return std::exchange(pending_, {});
}

bool Request::wait(std::chrono::milliseconds timeout) const {
  changed_.owner().require();
  std::unique_lock lock(mutex_);
  changed_->wait_for(lock, timeout, [this] {
    return !pending_.empty() || report_.state == RequestState::kFinished;
  });
  return !pending_.empty();
}

bool Request::wait_end(std::chrono::milliseconds timeout) const {
  changed_.owner().require();
  std::unique_lock lock(mutex_);
  return changed_->wait_for(lock, timeout,
                            [this] { return report_.state == RequestState::kFinished; });
}

std::vector<std::byte> Request::snapshot() const {
  changed_.owner().require();
  const std::lock_guard lock(mutex_);
  REALM_CHECK(report_.state != RequestState::kFinished,
              "a request whose answer has ended has nothing to go on with");
  return encode({engine_, options_, {answer_, logprobs_, report_.logits_hash}});
}

void Request::note_started(int64_t n_cached) {
  const std::lock_guard lock(mutex_);
  report_.state = RequestState::kRunning;
  if (report_.started_ns != 0) return;
  report_.started_ns = elapsed_ns();
  report_.n_cached = n_cached;
}

void Request::note_preempted() {
  const std::lock_guard lock(mutex_);
  report_.state = RequestState::kWaiting;
  ++report_.n_preempted;
}

void Request::note_speculation(const SpeculationReport& report) {
  const std::lock_guard lock(mutex_);
  report_.speculation = report;
}

// All or nothing.
void Request::append(Piece& piece) {
  std::vector<Logprobs> logprobs = piece.logprobs;
  for (auto* tokens : {&answer_, &pending_.tokens}) make_room(*tokens, piece.tokens.size());
  for (auto* list : {&logprobs_, &pending_.logprobs}) make_room(*list, logprobs.size());
  pending_.text += piece.text;
  answer_.insert(answer_.end(), piece.tokens.begin(), piece.tokens.end());
  pending_.tokens.insert(pending_.tokens.end(), piece.tokens.begin(), piece.tokens.end());
  std::ranges::move(logprobs, std::back_inserter(logprobs_));
  std::ranges::move(piece.logprobs, std::back_inserter(pending_.logprobs));
}

// The last piece, for which there must be memory already. The mailbox refers to this request until
// it is read, so this one lets go of it.
std::shared_ptr<Mailbox> Request::finish(Finish&& finish, Finish&& copy) noexcept {
  report_.state = RequestState::kFinished;
  report_.finished_ns = elapsed_ns();
  report_.finished_step = finished_step_;
  report_.finish = std::move(copy);
  pending_.finish = std::move(finish);
  return std::exchange(mailbox_, nullptr);
}

void Request::emit(Piece piece, uint64_t logits_hash) {
  std::shared_ptr<Mailbox> mailbox;
  {
    const std::lock_guard lock(mutex_);
    std::optional<Finish> copy = piece.finish;
    append(piece);
    if (!piece.tokens.empty() && report_.first_token_ns == 0) report_.first_token_ns = elapsed_ns();
    report_.n_generated = static_cast<int64_t>(answer_.size());
    report_.logits_hash = logits_hash;
    mailbox = piece.finish ? finish(std::move(*piece.finish), std::move(*copy)) : mailbox_;
  }
  changed_->notify_all();
  if (mailbox) mailbox->post(shared_from_this());
}

void Request::end_without_memory() noexcept {
  const auto short_enough_to_need_none = [] {
    return Finish{FinishReason::kError, {}, {}, Error(ErrorCode::kOutOfMemory, "out of memory")};
  };
  std::shared_ptr<Mailbox> mailbox;
  {
    const std::lock_guard lock(mutex_);
    mailbox = finish(short_enough_to_need_none(), short_enough_to_need_none());
  }
  changed_->notify_all();
  if (mailbox) mailbox->post(shared_from_this());
}

}  // namespace realm
