// What is asked of the operating system: files, mappings, wake-ups, memory, processors, threads. Of
// all suites this one needs nothing of POSIX, so that a build for Windows runs it too.
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>
#if defined(_WIN32)
#include <winsock2.h>
#undef near  // which the headers of Windows still define
#else
#include <poll.h>
#endif

#include "base/file.h"
#include "base/memory.h"
#include "base/system.h"
#include "base/thread_pool.h"
#include "base/wake_fd.h"
#include "cpp/harness.h"
#include "cpu/pages.h"

using namespace realm;
using test::contains;

namespace {

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

void write(const std::string& path, const std::string& text) {
  OutputFile file(path);
  file.write(bytes_of(text));
  file.commit();
}

std::string read(const std::string& path) {
  const File file(path);
  std::vector<std::byte> bytes(static_cast<size_t>(file.size()));
  file.read_at(0, bytes);
  return text_of(bytes);
}

bool exists(const std::string& path) {
  return std::ifstream(path).good();
}

bool is_readable(const WakeFd& wake, int timeout_ms) {
#if defined(_WIN32)
  fd_set set;
  FD_ZERO(&set);
  FD_SET(static_cast<SOCKET>(wake.fd()), &set);
  const timeval timeout{0, timeout_ms * 1000};
  return ::select(0, &set, nullptr, nullptr, &timeout) == 1;
#else
  pollfd one{wake.fd(), POLLIN, 0};
  return ::poll(&one, 1, timeout_ms) == 1;
#endif
}

}  // namespace

TEST(a_file_is_read_at_any_position_and_mapped_as_it_is) {
  const std::string path = "system_test_read.bin", text = "0123456789";
  write(path, text);
  {
    const File file(path);
    EXPECT_EQ(file.size(), text.size());
    std::byte part[4];
    file.read_at(3, part);
    EXPECT_EQ(text_of(part), "3456");
    EXPECT(contains(EXPECT_ERROR(kFormat, { file.read_at(8, part); }), "ends at byte 10"));
    EXPECT(contains(EXPECT_ERROR(kFormat, { file.read_at(1000, part); }), "ends at byte 1000"));
    const MappedFile mapped(file);
    EXPECT_EQ(text_of(mapped.bytes()), text);
  }
  std::remove(path.c_str());
}

TEST(a_mapping_outlives_the_file_that_it_came_from) {
  const std::string path = "system_test_map.bin", text(100000, 'x');
  write(path, text);
  {
    auto file = std::make_unique<File>(path);
    const MappedFile mapped(*file);
    file.reset();
    EXPECT_EQ(text_of(mapped.bytes()), text);
  }
  std::remove(path.c_str());
}

TEST(an_empty_file_maps_to_nothing) {
  const std::string path = "system_test_empty.bin";
  write(path, "");
  EXPECT(MappedFile(File(path)).bytes().empty());
  std::remove(path.c_str());
}

TEST(a_file_whose_name_is_not_ascii_is_found) {
  const std::string path = "system_test_\xc3\xa9\xe4\xb8\xad.bin";  // in UTF-8
  write(path, "found");
  EXPECT_EQ(read(path), "found");
  write(path, "replaced");
  EXPECT_EQ(read(path), "replaced");
  std::remove(path.c_str());  // which takes another encoding on Windows, and leaves it there
}

TEST(an_output_appears_whole_and_replaces_what_was_there) {
  const std::string path = "system_test_out.bin";
  write(path, "before");
  {
    OutputFile file(path);
    file.write(bytes_of("af"));
    file.write(bytes_of("ter"));
    EXPECT_EQ(file.size(), 5u);
    EXPECT_EQ(read(path), "before");
    file.commit();
    EXPECT_EQ(read(path), "after");
  }
  EXPECT_EQ(read(path), "after");
  std::remove(path.c_str());
}

TEST(an_output_that_is_given_up_leaves_nothing_behind) {
  const std::string path = "system_test_gone.bin";
  const std::string temporary = concat(path, ".partial-", process_id(), "-0");
  {
    OutputFile file(path);
    file.write(bytes_of("half"));
    EXPECT(exists(temporary));
  }
  EXPECT(!exists(path) && !exists(temporary));
}

TEST(two_outputs_of_one_name_do_not_meet) {
  const std::string path = "system_test_two.bin";
  OutputFile first(path), second(path);
  first.write(bytes_of("first"));
  second.write(bytes_of("second"));
  second.commit();
  first.commit();
  EXPECT_EQ(read(path), "first");
  std::remove(path.c_str());
}

TEST(what_cannot_be_opened_is_refused_with_its_name_and_a_reason) {
  try {
    File("no such folder/no such file");
    EXPECT(false);
  } catch (const Error& error) {
    EXPECT(error.code() == ErrorCode::kIo);
    EXPECT_EQ(error.os_error(), ENOENT);
    EXPECT(contains(error.what(), "no such file"));
  }
  EXPECT(contains(EXPECT_ERROR(kFormat, { File("."); }), "not a regular file"));
  EXPECT_ERROR(kIo, { OutputFile("no such folder/out"); });
}

TEST(a_wake_descriptor_is_readable_from_a_signal_to_the_clear) {
  WakeFd wake;
  EXPECT(!is_readable(wake, 0));
  for (int round = 0; round < 3; ++round) {
    wake.signal();
    wake.signal();
    EXPECT(is_readable(wake, 5000));
    EXPECT(is_readable(wake, 0));  // until it is cleared
    wake.clear();
    EXPECT(!is_readable(wake, 0));
  }
}

TEST(a_signal_wakes_another_thread_and_never_blocks) {
  WakeFd wake;
  std::thread other([&] {
    for (int i = 0; i < 100000; ++i) wake.signal();
  });
  EXPECT(is_readable(wake, 20000));
  other.join();
  wake.clear();
  EXPECT(!is_readable(wake, 0));
  wake.clear();  // nothing to clear is no wait
}

TEST(many_wake_descriptors_are_apart) {
  std::vector<std::unique_ptr<WakeFd>> all;
  for (int i = 0; i < 32; ++i) all.push_back(std::make_unique<WakeFd>());
  all[7]->signal();
  for (size_t i = 0; i < all.size(); ++i)
    EXPECT_EQ(is_readable(*all[i], i == 7 ? 5000 : 0), i == 7);
}

TEST(pages_are_zero_can_be_written_and_given_back) {
  constexpr uint64_t kBytes = 5 << 20;
  cpu::Pages pages(kBytes, "a test");
  EXPECT(pages.bytes() >= kBytes);
  for (uint64_t i = 0; i < kBytes; i += 4096) EXPECT_EQ(pages.begin()[i], 0);
  std::memset(pages.begin(), 7, kBytes);
  cpu::Pages::forget(pages.begin() + 100, kBytes - 300);
  EXPECT_EQ(pages.begin()[99], 7);
  EXPECT_EQ(pages.begin()[kBytes - 1], 7);
  std::memset(pages.begin(), 8, kBytes);  // still ours to write
  EXPECT_EQ(pages.begin()[kBytes / 2], 8);
  EXPECT_ERROR(kOutOfMemory, { cpu::Pages(uint64_t{1} << 60, "more than there is"); });
}

TEST(the_system_knows_its_memory_processors_and_process) {
  EXPECT(physical_memory() > uint64_t{64} << 20);
  EXPECT(available_memory() > 0);
  EXPECT(permitted_processors() >= 1);
  EXPECT(process_id() > 0);
  EXPECT_EQ(process_id(), process_id());
}

TEST(a_pool_of_threads_does_every_index_once) {
  ThreadPool pool(4);
  for (int round = 0; round < 50; ++round) {
    std::vector<std::atomic<int>> counts(1000);
    pool.run(1000, [&](int64_t i) { ++counts[static_cast<size_t>(i)]; });
    for (const auto& count : counts) EXPECT_EQ(count.load(), 1);
  }
}
