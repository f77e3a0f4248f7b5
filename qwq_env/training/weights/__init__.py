"""How the trainer's weights reach the servers that sample for it.

With GPUs on both sides, TRL does it itself, over NCCL (`GRPOConfig(use_vllm=True,
vllm_mode="server")`, the server started with `--weight-transfer-config '{"backend":"nccl"}'`): it
pushes before each rollout whose step is new; `nccl` has it do so before other episodes. Elsewhere:

- `disk.DiskWeightSync`: whole weights, through a folder that trainer and servers share;
- `adapter.AdapterWeightSync`: a LoRA adapter, some sixty times less to move;
- `base.WeightSync`: the contract of both; `servers` tells the servers, `versions` keeps folders.

```python
prepare_served(model, tokenizer, "served")  # and start the servers on that folder
rollouts = Rollouts(
    "qwq/MathTool-v0", tokenizer,
    policy=lambda trainer: VllmPolicy(urls),
    weights=DiskWeightSync("served", urls),
)
```
"""
