// Theory of operation. FlowRow carries no token, so one request at a time is under way with each
// worker; others wait in its lane. A request that is not answered in time gets an error, but its
// place is kept until the worker's FlowsEnd with its token comes, so that late rows are not taken
// for the next request's.
#include "control/flow_lister.h"

#include <poll.h>

#include <algorithm>

#include "abi/assert.h"
#include "abi/log/log.h"

namespace sluice::control {
namespace {

constexpr uint64_t kAnswerTimeoutUs = 2'000'000;
constexpr uint64_t kRetryWaitingUs = 1'000;
constexpr uint64_t kForeverUs = 3'600'000'000;

FlowLister::Page error_page(const char* error) {
  FlowLister::Page page;
  page.error = error;
  return page;
}

}  // namespace

FlowLister::~FlowLister() {
  if (link_.attached()) loop_.cancel(wake_watch_);
}

void FlowLister::attach(AttachmentPtr attachment) {
  detach();
  link_ = WorkerLink(attachment, 0);
  lanes_ = std::vector<Lane>(link_.workers());
  const int fd = link_.wake_fd();
  wake_watch_ = loop_.watch(fd, POLLIN, [attachment, fd](int32_t) { abi::drain_wake(fd); });
}

void FlowLister::detach() {
  if (!link_.attached()) return;
  loop_.cancel(wake_watch_);
  link_ = WorkerLink();
  std::vector<Lane> lanes;
  lanes.swap(lanes_);
  for (Lane& lane : lanes) {
    for (Request& request : lane.requests) {
      if (request.answer) request.answer(error_page("the dataplane has gone"));
    }
  }
}

void FlowLister::list(uint32_t worker, uint32_t first_index, uint32_t max_rows, Answer answer) {
  SLUICE_ASSERT(max_rows >= 1 && max_rows <= abi::kRingSlots / 2);
  if (worker >= link_.workers()) {
    answer(
        error_page(link_.attached() ? "there is no such worker" : "not attached to the dataplane"));
    return;
  }
  Request request;
  request.first_index = first_index;
  request.max_rows = max_rows;
  request.deadline_us = Loop::now_us() + kAnswerTimeoutUs;
  request.answer = std::move(answer);
  lanes_[worker].requests.push_back(std::move(request));
  if (lanes_[worker].token == 0) start_next(worker);
}

void FlowLister::start_next(uint32_t worker) {
  Lane& lane = lanes_[worker];
  lane.token = 0;
  lane.page = Page{};
  while (!lane.requests.empty() && !lane.requests.front().answer) lane.requests.pop_front();
  if (lane.requests.empty()) return;
  abi::ListFlows message;
  message.token = next_token_++;
  message.first_index = lane.requests.front().first_index;
  message.max_rows = lane.requests.front().max_rows;
  abi::FlowId whom;
  whom.core = static_cast<uint16_t>(worker);
  if (link_.send(message, whom)) {
    lane.token = message.token;
    link_.flush();
    return;
  }
  const Answer answer = std::move(lane.requests.front().answer);
  lane.requests.pop_front();
  answer(error_page("the worker takes no messages"));
}

bool FlowLister::poll() {
  const bool worked = link_.poll(*this);
  expire(Loop::now_us());
  link_.flush();
  return worked;
}

uint64_t FlowLister::longest_sleep_us() {
  if (link_.has_waiting()) return kRetryWaitingUs;
  const uint64_t now = Loop::now_us();
  uint64_t longest = kForeverUs;
  for (const Lane& lane : lanes_) {
    for (const Request& request : lane.requests) {
      if (!request.answer) continue;
      longest = std::min(longest, request.deadline_us > now ? request.deadline_us - now : 1);
    }
  }
  return longest;
}

void FlowLister::expire(uint64_t now_us) {
  for (Lane& lane : lanes_) {
    for (auto request = lane.requests.begin(); request != lane.requests.end(); ++request) {
      if (!request->answer || request->deadline_us > now_us) continue;
      const Answer answer = std::move(request->answer);
      request->answer = nullptr;
      // The first one's answer may still come and must find its place; the others have not been
      // sent.
      if (request != lane.requests.begin()) lane.requests.erase(request);
      answer(error_page("the worker did not answer in time"));
      return;  // the answer may have asked again; the next turn goes on
    }
  }
}

void FlowLister::on_message(uint32_t worker, const abi::MessageBuffer& message) {
  Lane& lane = lanes_[worker];
  if (const auto* row = message.as<abi::FlowRow>()) {
    const bool wanted = lane.token != 0 && lane.page.rows.size() < abi::kRingSlots;
    if (wanted) lane.page.rows.push_back(*row);
    return;
  }
  const auto* end = message.as<abi::FlowsEnd>();
  if (end == nullptr || lane.token == 0 || end->token != lane.token) return;
  Page page = std::move(lane.page);
  page.next_index = end->next_index;
  const Answer answer = std::move(lane.requests.front().answer);
  // A next page that lies behind the present one would be asked for for ever.
  if (page.next_index <= lane.requests.front().first_index) page.next_index = UINT32_MAX;
  lane.requests.pop_front();
  start_next(worker);
  if (answer) answer(std::move(page));
}

void FlowLister::on_bad_message(uint32_t worker, abi::MessageError error) {
  log::error("a message from the dataplane was refused",
             {{"worker", worker}, {"error", abi::message_error_text(error)}, {"endpoint", 0}});
}

void FlowLister::on_broken_ring(uint32_t worker) {
  log::error("a ring of the dataplane is broken", {{"worker", worker}, {"endpoint", 0}});
  on_ring_failure_();
}

}  // namespace sluice::control
