-- ClusterCA follows kstatus: observedGeneration, and the conditions Ready, Reconciling and Stalled.
-- clusterpki's api/v1alpha1/conditions.go says when each condition and reason surfaces.
local hs = { status = "Progressing", message = "Waiting for clusterpki to observe the spec" }
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end

-- Only a person can help: with the spec, with consumers that a phase of the rotation waits for in vain, or with
-- those that an emergency has cut off.
for _, kind in ipairs({ "Stalled", "RedeliveryRequired", "RotationBlocked" }) do
  if conditions[kind] ~= nil and conditions[kind].status == "True" then
    hs.status = "Degraded"
    hs.message = conditions[kind].message
    return hs
  end
end

local ready = conditions["Ready"]
if ready ~= nil and ready.status == "False" and ready.reason == "NotUsable" then
  hs.status = "Degraded"
  hs.message = ready.message
  return hs
end

-- Nothing is wrong: a person has to accept what is only assumed before the old CA is withdrawn.
local withdrawal = conditions["WithdrawalPending"]
if withdrawal ~= nil and withdrawal.status == "True" then
  hs.status = "Suspended"
  hs.message = withdrawal.message
  return hs
end

-- A CA that is being rotated stays Ready: what it issued works.
for _, kind in ipairs({ "Reconciling", "Rotating" }) do
  if conditions[kind] ~= nil and conditions[kind].status == "True" then
    hs.message = conditions[kind].message
    return hs
  end
end

if ready ~= nil then
  hs.message = ready.message
  if ready.status == "True" then
    hs.status = "Healthy"
    local pending = conditions["RotationPending"]
    if pending ~= nil and pending.status == "True" then
      hs.message = pending.message
    end
  end
end
return hs
