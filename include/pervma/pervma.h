// pervma.h: everything that pervma offers to C++.
#pragma once

#include "pervma/address.h"
#include "pervma/address_space.h"
#include "pervma/design.h"
#include "pervma/engine.h"
#include "pervma/error.h"
#include "pervma/fault.h"
#include "pervma/file.h"
#include "pervma/host_object.h"
#include "pervma/mapping.h"
#include "pervma/notifier.h"
#include "pervma/page_buffer.h"
#include "pervma/page_store.h"
#include "pervma/range_map.h"
#include "pervma/user_fault.h"
#include "pervma/version.h"
#include "pervma/vma_info.h"
