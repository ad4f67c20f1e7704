// How long a widened reordering window lasts: RFC 8985 6.2, step 4. What it does, tests/packet
// shows.
#include "tcp/rack.h"

#include <gtest/gtest.h>

namespace sluice::tcp {
namespace {

void dsack(Tcb& tcb) {
  AckNews news;
  news.dsack = true;
  rack_adapt(tcb, news);
}

TEST(Rack, AWidenedWindowLastsForSixteenRecoveries) {
  Tcb tcb;
  dsack(tcb);
  dsack(tcb);
  ASSERT_EQ(tcb.reorder_multiple, 3);
  for (int i = 0; i < 15; ++i) rack_recovery_ended(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 3);
  rack_recovery_ended(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 1);
  rack_recovery_ended(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 1);
}

TEST(Rack, ADsackBeginsTheCountAnew) {
  Tcb tcb;
  dsack(tcb);
  for (int i = 0; i < 10; ++i) rack_recovery_ended(tcb);
  dsack(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 3);
  for (int i = 0; i < 15; ++i) rack_recovery_ended(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 3);
  rack_recovery_ended(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 1);
}

TEST(Rack, TheWindowIsBounded) {
  Tcb tcb;
  for (int i = 0; i < 100; ++i) dsack(tcb);
  EXPECT_EQ(tcb.reorder_multiple, 15);
}

}  // namespace
}  // namespace sluice::tcp
