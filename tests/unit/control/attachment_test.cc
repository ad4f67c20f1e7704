// Attaching to a dataplane that comes, goes, comes back, or is of another version.
#include "control/attachment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "abi/attach.h"
#include "test_certificates.h"

namespace sluice::control::testing {
namespace {

// The dataplane's side, on a thread of its own.
class FakeDataplane {
 public:
  explicit FakeDataplane(const std::string& path, uint32_t first_epoch = 1)
      : epoch_(first_epoch), thread_([this, path] { serve(path); }) {}
  ~FakeDataplane() {
    stop_ = true;
    thread_.join();
  }
  std::atomic<bool> drop{false};  // ends the present attachment
  std::atomic<int> attachments{0};

 private:
  void serve(const std::string& path) {
    std::string error;
    const abi::Descriptor listener = abi::listen_attach(path, error);
    EXPECT_TRUE(listener) << error;
    abi::AttachedControl control;
    bool attached = false;
    while (!stop_) {
      if (drop.exchange(false)) {
        control = abi::AttachedControl();
        attached = false;
      }
      std::string message;
      if (abi::accept_attach(listener.get(), 2, epoch_, attached, control, message) ==
          abi::AcceptResult::Attached) {
        attached = true;
        ++epoch_;
        ++attachments;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  std::atomic<bool> stop_{false};
  uint32_t epoch_;
  std::thread thread_;
};

struct Attaching {
  TempDirectory directory;
  std::string path = directory.file("dataplane.sock");
  std::unique_ptr<Loop> loop = std::move(*Loop::create());
  std::vector<uint32_t> epochs;
  int detached = 0;
  std::string fatal;
  Attacher attacher{*loop,
                    path,
                    2,
                    {[this](const AttachmentPtr& attachment) {
                       epochs.push_back(attachment->region.epoch());
                       step();
                     },
                     [this] { ++detached; },
                     [this](const std::string& error) {
                       fatal = error;
                       loop->stop();
                     }}};
  std::function<void()> step = [this] { loop->stop(); };
  void run(uint64_t limit_us = 5'000'000) {
    const Loop::Id timer = loop->at(Loop::now_us() + limit_us, [this] { loop->stop(); });
    attacher.start();
    loop->run(nullptr);
    loop->cancel_timer(timer);
  }
};

TEST(Attachment, WaitsForTheDataplane) {
  Attaching attaching;
  std::unique_ptr<FakeDataplane> dataplane;
  attaching.loop->at(Loop::now_us() + 250'000,
                     [&] { dataplane = std::make_unique<FakeDataplane>(attaching.path); });
  attaching.run();
  ASSERT_EQ(attaching.epochs.size(), 1U);
  EXPECT_EQ(attaching.attacher.current()->region.shape().workers, 2U);
}

TEST(Attachment, AttachesAgainWithANewEpoch) {
  Attaching attaching;
  FakeDataplane dataplane(attaching.path, 40);
  attaching.step = [&] {
    if (attaching.epochs.size() == 3) {
      attaching.loop->stop();
    } else if (attaching.epochs.size() == 1) {
      dataplane.drop = true;
    } else {
      attaching.loop->at(Loop::now_us(), [&] { attaching.attacher.give_up("a test"); });
      dataplane.drop = true;
    }
  };
  attaching.run();
  EXPECT_THAT(attaching.epochs, ::testing::ElementsAre(40, 41, 42));
  EXPECT_EQ(attaching.detached, 2);
}

TEST(Attachment, StopDetaches) {
  Attaching attaching;
  FakeDataplane dataplane(attaching.path);
  attaching.run();
  EXPECT_EQ(attaching.epochs.size(), 1U);
  attaching.attacher.stop();
  EXPECT_EQ(attaching.detached, 1);
  EXPECT_EQ(attaching.attacher.current(), nullptr);
}

TEST(Attachment, AnotherVersionIsFatal) {
  Attaching attaching;
  const abi::Descriptor listener(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, attaching.path.data(), attaching.path.size());
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  std::thread dataplane([&] {
    const abi::Descriptor connection(accept(listener.get(), nullptr, nullptr));
    abi::AttachRequest request;
    EXPECT_EQ(recv(connection.get(), &request, sizeof request, 0),
              static_cast<ssize_t>(sizeof request));
    abi::AttachReply reply;
    reply.abi_version = abi::kAbiVersion + 1;
    reply.status = static_cast<uint32_t>(abi::AttachStatus::WrongVersion);
    EXPECT_EQ(send(connection.get(), &reply, sizeof reply, 0), static_cast<ssize_t>(sizeof reply));
  });
  attaching.run();
  dataplane.join();
  EXPECT_TRUE(attaching.epochs.empty());
  EXPECT_THAT(attaching.fatal, ::testing::HasSubstr("version"));
}

}  // namespace
}  // namespace sluice::control::testing
