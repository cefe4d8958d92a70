// A model's layers one by one, for programs that look into the residual stream, change it, or run
// layers of their own in between.
//
//   realm::Session session = tenant.session();
//   std::vector<float> rows = session.embed_tokens(prompt);           // [tokens, n_embd]
//   for (int64_t i = 0; i < info.n_layers; ++i) session.forward_layer(i, rows);
//   std::vector<float> logits = session.compute_logits(rows);         // [tokens, n_vocab]
//
// Rows left as they are between the calls give the very bits of Tenant::prompt_logits(), however
// the tokens are cut into steps.
//
// Part of realm.hpp. C++17. One thread at a time; a second is refused meanwhile.
#pragma once

#include <optional>
#include <vector>

#include "realm/options.hpp"

namespace realm {

struct SessionOptions {
  std::optional<int64_t> max_tokens;  // its length at most; by default the model's context
  std::optional<int64_t> max_rows;    // of one step
  std::optional<KvType> kv_type;      // how keys and values are stored
};

namespace detail {

inline realm_session_options c_struct_of(const SessionOptions& from) {
  realm_session_options options;
  check(realm_session_options_init(&options, sizeof options));
  if (from.max_tokens) options.max_tokens = *from.max_tokens;
  if (from.max_rows) options.max_rows = *from.max_rows;
  if (from.kv_type) options.kv_type = static_cast<int32_t>(*from.kv_type);
  return options;
}

}  // namespace detail

// One sequence: the keys and values of its tokens, and its position.
class Session {
 public:
  // The number of tokens whose keys and values it holds.
  int64_t position() const {
    int64_t position = 0;
    detail::check(realm_session_position(handle_.get(), &position));
    return position;
  }

  // Gives up a step that was begun, and forgets everything from `position` on.
  void truncate(int64_t position) {
    detail::check(realm_session_truncate(handle_.get(), position));
  }

  // A row for each token, as they look at the positions that come next.
  std::vector<float> embed_tokens(const std::vector<int32_t>& tokens) const {
    std::vector<float> rows(tokens.size() * n_embd_);
    detail::check(
        realm_embed_tokens(handle_.get(), tokens.data(), tokens.size(), rows.data(), rows.size()));
    return rows;
  }

  // Runs one layer over rows, in place. Layers run in order, from 0; with the last one the rows
  // belong to the sequence.
  void forward_layer(int64_t layer, std::vector<float>& rows) {
    detail::check(realm_forward_layer(handle_.get(), layer, rows.data(), rows.size()));
  }

  // The logits of rows that came from the last layer, or of any others.
  std::vector<float> compute_logits(const std::vector<float>& rows) const {
    std::vector<float> logits(rows.size() / n_embd_ * n_vocab_);
    detail::check(realm_compute_logits(handle_.get(), rows.data(), rows.size(), logits.data(),
                                       logits.size()));
    return logits;
  }

 private:
  friend class Tenant;
  Session(realm_session* handle, size_t n_embd, size_t n_vocab)
      : handle_(handle), n_embd_(n_embd), n_vocab_(n_vocab) {}

  detail::Handle<realm_session, realm_session_free> handle_;
  size_t n_embd_, n_vocab_;
};

}  // namespace realm
