// Fetching a model file's tensors by name for a backend: shapes are checked, what was fetched is
// remembered, and what was not is refused at the end. What a base of an overlay has already is
// taken from there. A file on disk is read into one piece of
// memory, tensor after tensor, which the backend copies or packs: beside its weights a model that
// loads takes the memory of its largest tensor.
#pragma once

#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "model/weights.h"

namespace realm {

// Memory that is filled again and again; it grows, is not cleared, and is aligned for any kernel.
class StagingMemory {
 public:
  // Throws kOutOfMemory. What it held before is lost.
  std::span<std::byte> at_least(uint64_t bytes);

 private:
  static constexpr std::align_val_t kAlignment{64};
  struct Release {
    void operator()(std::byte* memory) const { ::operator delete(memory, kAlignment); }
  };
  std::unique_ptr<std::byte, Release> memory_;
  uint64_t bytes_ = 0;
};

class TensorSource {
 public:
  TensorSource(std::shared_ptr<const gguf::GgufFile> file, Backend& backend,
               const LoadOptions& options, const OverlayBase* base = nullptr);

  // In the file, or because an adapter adds it.
  bool has(const std::string& name) const;

  using Parts = std::vector<std::shared_ptr<const Weight>>;

  std::shared_ptr<const Weight> matrix(const std::string& name, int64_t rows, int64_t cols);
  // [experts, rows, cols]: one weight, in which the experts' rows follow one another.
  std::shared_ptr<const Weight> bank(const std::string& name, int64_t experts, int64_t rows,
                                     int64_t cols);
  // Successive row ranges of one fused matrix.
  Parts split_matrix(const std::string& name, const std::vector<int64_t>& rows, int64_t cols);
  // A vector of finite values in the backend's memory.
  Vector vector(const std::string& name, int64_t n);
  Vector optional_vector(const std::string& name, int64_t n);
  std::vector<float> host_vector(const std::string& name, int64_t n);

  // Throws kFormat if the file has tensors that nobody asked for; gives all that was loaded.
  LoadedTensors finish();
  uint64_t bytes() const { return bytes_; }
  // What merging adapters did to tensors so far.
  std::vector<gguf::RequantizedTensor> take_merged() { return std::move(merged_); }

 private:
  WeightBytes merged_bytes(const gguf::Rewrite& rewrite, int64_t rows, int64_t cols);
  std::optional<std::vector<float>> merged_bias(const std::string& name) const;
  bool is_merged(const std::string& name) const;
  std::string stored_name(const std::string& name) const;
  std::unique_lock<BackendTurns> lock_backend() const;
  const gguf::TensorInfo& take(const std::string& name, const Shape& needed);
  const Parts& parts(const std::string& name, const Shape& needed,
                     const std::vector<int64_t>& rows);
  Parts load_parts(const WeightBytes& whole, const std::vector<int64_t>& rows);
  std::shared_ptr<const Buffer> load_vector(const std::vector<float>& values);
  // Valid until the next fetch, unless mapped.
  WeightBytes fetch(const std::string& name, const gguf::TensorInfo& info, const Shape& needed);
  std::span<const std::byte> stage(const gguf::TensorInfo& info);
  void report(uint64_t bytes);

  std::shared_ptr<const gguf::GgufFile> file_;
  Backend& backend_;
  const LoadOptions& options_;
  const OverlayBase* const base_;
  std::shared_ptr<ThreadPool> pool_;
  StagingMemory staging_, merged_staging_;
  std::vector<bool> taken_;
  LoadedTensors loaded_;
  std::vector<gguf::RequantizedTensor> merged_;
  uint64_t bytes_ = 0, bytes_done_ = 0, bytes_total_ = 0;
};

}  // namespace realm
