// How often each kernel was launched, by name. A launch is counted where its thread counts at that
// moment; check_launch() tells of each. Read by any thread.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace realm::cuda {

class LaunchCounts {
 public:
  // Launches of this thread are counted in `counts` as long as one of these lives.
  class Here {
   public:
    explicit Here(LaunchCounts& counts);
    ~Here();
    Here(const Here&) = delete;
    Here& operator=(const Here&) = delete;

   private:
    LaunchCounts* const before_;
  };

  std::vector<std::pair<std::string, uint64_t>> by_name() const;

 private:
  friend void count_launch(const char* kernel);
  mutable std::mutex mutex_;
  std::map<std::string, uint64_t, std::less<>> counts_;
};

// `kernel` as the launch spells it: template arguments are left out.
void count_launch(const char* kernel);

}  // namespace realm::cuda
