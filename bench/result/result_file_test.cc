#include "bench/result/result_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>

namespace nfarena {
namespace {

class ResultFileTest : public testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/nfarena-result-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Read(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  size_t FilesCount() {
    const std::filesystem::directory_iterator all(folder_);
    return static_cast<size_t>(std::distance(begin(all), end(all)));
  }

  std::filesystem::path folder_;
};

TEST_F(ResultFileTest, WritesAndReplaces) {
  const auto path = folder_ / "a";
  ASSERT_TRUE(WriteWholeFile(path, "first"));
  EXPECT_EQ(Read(path), "first");
  const std::string big(3 << 20, 'x');
  ASSERT_TRUE(WriteWholeFile(path, big));
  EXPECT_EQ(Read(path), big);
  EXPECT_EQ(FilesCount(), 1u);
}

TEST_F(ResultFileTest, ErrorsNameTheFile) {
  const auto done = WriteWholeFile(folder_ / "no" / "a", "x");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kSystem);
  EXPECT_EQ(done.error().errno_value, ENOENT);
  EXPECT_THAT(done.error().ToString(), testing::HasSubstr("no/a"));
}

// A limit on the size of files is a disk that is full, without a disk.
TEST_F(ResultFileTest, WhatWasThereStaysWhenThereIsNoRoom) {
  const auto path = folder_ / "a";
  ASSERT_TRUE(WriteWholeFile(path, "first"));
  rlimit old{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &old), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{.rlim_cur = 4096, .rlim_max = old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  const auto done = WriteWholeFile(path, std::string(100000, 'x'));
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().errno_value, EFBIG);
  EXPECT_EQ(Read(path), "first");
  EXPECT_EQ(FilesCount(), 1u);
}

// Killed at any time, whole states only, and no file that is none.
TEST_F(ResultFileTest, KilledWhileWriting) {
  const auto path = folder_ / "a";
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) {
        if (!WriteWholeFile(path, std::string(1 << 20, c))) _exit(1);
      }
    }
    while (!std::filesystem::exists(path)) usleep(100);
    usleep(static_cast<useconds_t>(1000 + i * 700));
    kill(child, SIGKILL);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "a write failed";
    const std::string text = Read(path);
    ASSERT_EQ(text.size(), size_t{1} << 20);
    EXPECT_EQ(std::count(text.begin(), text.end(), text[0]), 1 << 20);
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      EXPECT_EQ(std::filesystem::file_size(entry), size_t{1} << 20);
    }
  }
}

TEST_F(ResultFileTest, SaysWhetherItIsComplete) {
  const auto path = folder_ / "a.json";
  ResultFile file(path, "update", {"nfarena", "bench"});
  file.cases().push_back({{"workload", "w"}});
  file.Skip("something", "a reason");
  ASSERT_TRUE(file.Save());
  auto json = nlohmann::json::parse(Read(path));
  EXPECT_EQ(json["complete"], false);
  EXPECT_EQ(json["version"], kResultVersion);
  EXPECT_EQ(json["cases"][0]["workload"], "w");
  EXPECT_EQ(json["skipped"][0]["reason"], "a reason");
  EXPECT_FALSE(json["engines"].empty());
  ASSERT_TRUE(file.Finish());
  json = nlohmann::json::parse(Read(path));
  EXPECT_EQ(json["complete"], true);
}

}  // namespace
}  // namespace nfarena
