#include "engine/request.h"

#include <iterator>
#include <utility>

#include "engine/inbox.h"
#include "engine/snapshot.h"

namespace realm {

namespace {

template <class T>
void move_to_end(std::vector<T>& to, std::vector<T>& from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
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

void Request::append(Piece& piece) {
  answer_.insert(answer_.end(), piece.tokens.begin(), piece.tokens.end());
  logprobs_.insert(logprobs_.end(), piece.logprobs.begin(), piece.logprobs.end());
  move_to_end(pending_.tokens, piece.tokens);
  move_to_end(pending_.logprobs, piece.logprobs);
  pending_.text += piece.text;
}

void Request::emit(Piece piece, uint64_t logits_hash) {
  std::shared_ptr<Mailbox> mailbox;
  {
    const std::lock_guard lock(mutex_);
    if (!piece.tokens.empty() && report_.first_token_ns == 0) report_.first_token_ns = elapsed_ns();
    append(piece);
    report_.n_generated = static_cast<int64_t>(answer_.size());
    report_.logits_hash = logits_hash;
    if (piece.finish) {
      report_.state = RequestState::kFinished;
      report_.finished_ns = elapsed_ns();
      report_.finished_step = finished_step_;
      report_.finish = piece.finish;
      pending_.finish = std::move(piece.finish);
      mailbox = std::exchange(mailbox_, nullptr);  // it refers to this request until it is read
    } else {
      mailbox = mailbox_;
    }
  }
  changed_->notify_all();
  if (mailbox) mailbox->post(shared_from_this());
}

}  // namespace realm
