// The examples take their prompts as token ids on the command line: turning text into ids is left
// to the program that embeds the library, or to Python (realm_ext.Tokenizer).
#pragma once

#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

// Prompts that stand between slashes: "12 7 / 9 4" is two.
inline std::vector<std::vector<int32_t>> prompts_from(char** begin, char** end) {
  std::vector<std::vector<int32_t>> prompts(1);
  for (; begin != end; ++begin) {
    if (std::string_view(*begin) == "/") {
      prompts.emplace_back();
    } else {
      prompts.back().push_back(static_cast<int32_t>(std::strtol(*begin, nullptr, 10)));
    }
  }
  return prompts;
}
