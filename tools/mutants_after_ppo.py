"""Single faults for the methods after PPO, as tools/mutants.py plants them."""

FAULTS: dict[str, dict[str, tuple[str, str]]] = {
    "dpo.py": {
        # the losses
        "the tables of pairs have any shape": (
            'check_shape("policy", self.policy, None, 2)',
            "pass",
        ),
        "reference and lengths of any shape": (
            "check_shapes(policy=self.policy, reference=self.reference, lengths=self.lengths)",
            "pass",
        ),
        "the log-ratio upside down": (
            "return self.policy - self.reference",
            "return self.reference - self.policy",
        ),
        "the implicit reward without beta": (
            "return beta * (log_probs - ref_log_probs)",
            "return log_probs - ref_log_probs",
        ),
        "the implicit reward without the reference": (
            "return beta * (log_probs - ref_log_probs)",
            "return beta * log_probs",
        ),
        "an implicit reward of any shapes": (
            "check_shapes(log_probs=log_probs, ref_log_probs=ref_log_probs)",
            "pass",
        ),
        "an implicit reward of any beta": (
            'check_shapes(log_probs=log_probs, ref_log_probs=ref_log_probs)\n    check_positive("beta", beta)',
            "check_shapes(log_probs=log_probs, ref_log_probs=ref_log_probs)",
        ),
        "the rejected response preferred": (
            "return -logsigmoid(chosen - rejected).mean()",
            "return -logsigmoid(rejected - chosen).mean()",
        ),
        "the sign of DPO's loss": (
            "return -logsigmoid(chosen - rejected).mean()",
            "return logsigmoid(chosen - rejected).mean()",
        ),
        "a sum over the pairs": (
            "return -logsigmoid(chosen - rejected).mean()",
            "return -logsigmoid(chosen - rejected).sum()",
        ),
        "IPO over sums": (
            "chosen, rejected = (pairs.log_ratios / pairs.lengths).unbind(-1)",
            "chosen, rejected = pairs.log_ratios.unbind(-1)",
        ),
        "IPO without the reference": (
            "chosen, rejected = (pairs.log_ratios / pairs.lengths).unbind(-1)",
            "chosen, rejected = (pairs.policy / pairs.lengths).unbind(-1)",
        ),
        "IPO's margin doubled": (
            "(chosen - rejected - 1 / (2 * beta))",
            "(chosen - rejected - 1 / beta)",
        ),
        "IPO's margin is its beta": (
            "(chosen - rejected - 1 / (2 * beta))",
            "(chosen - rejected - beta / 2)",
        ),
        "IPO's margin on the other side": (
            "(chosen - rejected - 1 / (2 * beta))",
            "(chosen - rejected + 1 / (2 * beta))",
        ),
        "IPO's error not squared": (".square().mean()", ".abs().mean()"),
        "KTO's zero below 0": (
            "pairs.mismatched.mean().clamp(min=0).detach()",
            "pairs.mismatched.mean().detach()",
        ),
        "KTO's zero held before the mean": (
            "pairs.mismatched.mean().clamp(min=0)",
            "pairs.mismatched.clamp(min=0).mean()",
        ),
        "KTO's zero learns": (
            "pairs.mismatched.mean().clamp(min=0).detach()",
            "pairs.mismatched.mean().clamp(min=0)",
        ),
        "KTO's zero is always 0": (
            "z = pairs.mismatched.mean().clamp(min=0).detach()",
            "z = torch.zeros(())",
        ),
        "KTO's bad responses like the good ones": (
            "torch.stack([chosen - z, z - rejected])",
            "torch.stack([chosen - z, rejected - z])",
        ),
        "KTO's zero with the good responses only": (
            "torch.stack([chosen - z, z - rejected])",
            "torch.stack([chosen - z, -rejected])",
        ),
        "KTO without the 1": (
            "(1 - (beta * signed).sigmoid()).mean()",
            "(-(beta * signed).sigmoid()).mean()",
        ),
        "KTO with a logarithm": (
            "(1 - (beta * signed).sigmoid()).mean()",
            "-logsigmoid(beta * signed).mean()",
        ),
        "KTO without beta": ("(beta * signed).sigmoid()", "signed.sigmoid()"),
        "SimPO over sums": ("(beta * pairs.policy / pairs.lengths)", "(beta * pairs.policy)"),
        "SimPO with a reference": (
            "(beta * pairs.policy / pairs.lengths)",
            "(beta * pairs.log_ratios / pairs.lengths)",
        ),
        "SimPO without its margin": (
            "return -logsigmoid(chosen - rejected - margin).mean()",
            "return -logsigmoid(chosen - rejected + 0 * margin).mean()",
        ),
        "SimPO's margin times beta": (
            "chosen - rejected - margin",
            "chosen - rejected - beta * margin",
        ),
        "SimPO's margin added": ("chosen - rejected - margin", "chosen - rejected + margin"),
        # log-probabilities
        "prompts in another order than responses": (
            "for _, both in pairs for response in both]",
            "for _, both in pairs for response in both[::-1]]",
        ),
        "pairs of any tokens": ("check_tokens(model, ids)", "pass"),
        "a mean over the tokens": ("temperature=1.0).sum(-1)", "temperature=1.0).mean(-1)"),
        "another temperature": ("temperature=1.0", "temperature=0.9"),
        "lengths with the prompt": (
            "[[len(response) for response in responses] for _, responses in part]",
            "[[len(prompt + response) for response in responses] for prompt, responses in part]",
        ),
        "the lengths swapped": (
            "[[len(response) for response in responses] for _, responses in part]",
            "[[len(response) for response in responses[::-1]] for _, responses in part]",
        ),
        "pairs cut across": (
            "temperature=1.0).sum(-1).view(-1, 2)",
            "temperature=1.0).sum(-1).view(2, -1).T",
        ),
        "nothing mismatched": ("following = [*pairs[1:], pairs[0]]", "following = pairs"),
        "mismatched with the first prompt alone": (
            "following = [*pairs[1:], pairs[0]]",
            "following = [pairs[0] for _ in pairs]",
        ),
        "the last pair has no mismatch": (
            "following = [*pairs[1:], pairs[0]]",
            "following = pairs[1:]",
        ),
        "the reference with dropout": (
            "with evaluating(model): return torch.cat(",
            "if True:\n        return torch.cat(",
        ),
        "the last batch of pairs is lost": (
            "for start in range(0, len(pairs), batch_size)",
            "for start in range(0, len(pairs) - batch_size + 1, batch_size)",
        ),
        # training
        "any pairs": ("check_pairs(pairs)\n    check_positive", "check_positive"),
        "any beta": (
            'check_positive("beta", beta)\n    check_whole("epochs"',
            'check_whole("epochs"',
        ),
        "any number of epochs": ('check_whole("epochs", epochs)', "pass"),
        "any batch size": ('check_whole("batch_size", batch_size)', "pass"),
        "the reference asked for is not used": (
            "log_probs_of_all(reference or policy, pairs, pad_id)",
            "log_probs_of_all(policy, pairs, pad_id)",
        ),
        "the reference learns along": (
            "reference = reference or reference_of(policy)",
            "reference = reference or policy",
        ),
        "the reference is asked at every step": (
            "known[rows], torch.tensor(lengths",
            "now.detach(), torch.tensor(lengths",
        ),
        "the reference asked for is not asked for KTO's zero": (
            "reference = reference or reference_of(policy)",
            "reference = reference_of(policy)",
        ),
        "DPO's loss of the policy against itself": (
            "return dpo_loss(pairs.policy, pairs.reference, beta)",
            "return dpo_loss(pairs.policy, pairs.policy.detach(), beta)",
        ),
        "the reference moved away from the policy": (
            "return dpo_loss(pairs.policy, pairs.reference, beta)",
            "return dpo_loss(pairs.reference, pairs.policy, beta)",
        ),
        "the reference of other pairs": (
            "known[rows], torch.tensor(lengths",
            "known[: len(rows)], torch.tensor(lengths",
        ),
        "always the same order": ("epochs=epochs, seed=seed", "epochs=epochs, seed=0"),
        "one epoch": (
            "batch_size=batch_size, epochs=epochs, seed",
            "batch_size=batch_size, epochs=1, seed",
        ),
        "the schedule of one epoch": (
            "steps = epochs * math.ceil(len(pairs) / batch_size)",
            "steps = math.ceil(len(pairs) / batch_size) + 10",
        ),
        "a step too few in the schedule": (
            "math.ceil(len(pairs) / batch_size)",
            "max(1, len(pairs) // batch_size)",
        ),
        "the learning rate stays": ("schedule.step()", "pass"),
        "dropout in training": (
            "with evaluating(policy):\n            now",
            "if True:\n            now",
        ),
        "KTO's zero only where the loss is DPO's": (
            "if loss is kto_loss else None",
            "if loss is sigmoid_loss else None",
        ),
        "KTO's zero is the policy's own": (
            "mismatched(policy, reference, part, pad_id)",
            "mismatched(policy, policy, part, pad_id)",
        ),
        "dropout in KTO's zero": (
            "with evaluating(policy, reference):",
            "with evaluating(policy):",
        ),
        "KTO's zero from pairs that match": ("others = mismatch(pairs)", "others = pairs"),
        "KTO's zero upside down": (
            "return (now - pair_log_probs(reference, others, pad_id)).flatten()",
            "return (pair_log_probs(reference, others, pad_id) - now).flatten()",
        ),
        "the loss of another": ("value = loss(logs, beta)", "value = sigmoid_loss(logs, beta)"),
        "always a beta of a tenth": ("value = loss(logs, beta)", "value = loss(logs, 0.1)"),
        "any loss and any gradient": (
            'for step, rows in enumerate(numbers, start=1):\n        minimize(\n            batch_loss,\n            [rows],\n            optimizer,\n            refusal=f"the {{what}} is {{value}} at step {step}: lower the learning rate "\n            f"({learning_rate}); the last update was not made",\n        )',
            "for step, rows in enumerate(numbers, start=1):\n        batch_loss(rows).backward()\n        optimizer.step()\n        optimizer.zero_grad()",
        ),
        "the first metrics at every step": ("yield history[-1]", "yield history[0]"),
        "steps counted from 0": ("enumerate(numbers, start=1)", "enumerate(numbers)"),
        # metrics
        "the margin without beta": (
            '"margin": beta * (chosen - rejected).mean().item()',
            '"margin": (chosen - rejected).mean().item()',
        ),
        "equal responses count as right": (
            "(chosen > rejected).float()",
            "(chosen >= rejected).float()",
        ),
        "the metrics swapped": (
            '"chosen": chosen.mean().item()',
            '"chosen": rejected.mean().item()',
        ),
        # what is refused
        "pairs that are none": ("check_rankings(pairs)\n    for", "for"),
        "empty prompts": ("if not prompt or not all(responses):", "if not all(responses):"),
        "empty responses": ("if not prompt or not all(responses):", "if not prompt:"),
        "KTO's last pair left alone": (
            "(batch_size == 1 or len(pairs) % batch_size == 1)",
            "batch_size == 1",
        ),
        "KTO one pair at a time": (
            "(batch_size == 1 or len(pairs) % batch_size == 1)",
            "len(pairs) % batch_size == 1",
        ),
        "every loss with company": ("if loss is kto_loss and (", "if ("),
        "rankings of three": ("if len(pairs[0][1]) != 2:", "if False:"),
    },
    "grpo.py": {
        "the mean of all groups": (
            "return (groups - groups.mean(-1, keepdim=True)).flatten()",
            "return (groups - groups.mean()).flatten()",
        ),
        "no mean": (
            "return (groups - groups.mean(-1, keepdim=True)).flatten()",
            "return groups.flatten()",
        ),
        "groups of other rows": (
            "groups = scores.view(-1, size)",
            "groups = scores.view(size, -1).T",
        ),
        "rounding in a flat group": ("return groups - groups[:, :1]", "return groups"),
        "the deviation of all groups": (
            "deviations = groups.std(-1, keepdim=True)",
            "deviations = groups.std()",
        ),
        "the deviation of a population": (
            "groups.std(-1, keepdim=True)",
            "groups.std(-1, keepdim=True, correction=0)",
        ),
        "the variance": ("groups.std(-1, keepdim=True)", "groups.var(-1, keepdim=True)"),
        "no small number beside the deviation": ("(deviations + 1e-4)", "(deviations + 1e-12)"),
        "standardised without the mean": (
            "((groups - groups.mean(-1, keepdim=True)) / (deviations + 1e-4))",
            "(groups / (deviations + 1e-4))",
        ),
        "leave one out with oneself": (
            "(groups.sum(-1, keepdim=True) - groups) / (size - 1)",
            "groups.sum(-1, keepdim=True) / size",
        ),
        "leave one out divided by all": ("- groups) / (size - 1)", "- groups) / size"),
        "groups of one": (
            'check_whole("size", size, least=2)\n    check_shape',
            'check_whole("size", size)\n    check_shape',
        ),
        "scores of any shape": ('check_shape("scores", scores, None)', "pass"),
        "groups with a rest": ("if len(scores) % size:", "if False:"),
        # the gain
        "old over new": (
            "ratio = (log_probs - old_log_probs).exp()",
            "ratio = (old_log_probs - log_probs).exp()",
        ),
        "no ratio": ("ratio = (log_probs - old_log_probs).exp()", "ratio = log_probs.exp()"),
        "the ratio detached": (
            "ratio = (log_probs - old_log_probs).exp()",
            "ratio = (log_probs - old_log_probs).exp().detach()",
        ),
        "clip_high is not used": ("(clip if clip_high is None else clip_high)", "clip"),
        "clip_high of 0 is none": (
            "(clip if clip_high is None else clip_high)",
            "(clip_high or clip)",
        ),
        "clip_high below": ("ratio.clamp(1 - clip,", "ratio.clamp(1 - (clip_high or clip),"),
        "clipped from above only": (
            "ratio.clamp(1 - clip, 1 + (clip if clip_high is None else clip_high))",
            "ratio.clamp(max=1 + (clip if clip_high is None else clip_high))",
        ),
        "no ceiling": ("ratio.clamp(max=ceiling) * advantages", "ratio * advantages"),
        "the ceiling is a floor": (
            "ratio.clamp(max=ceiling) * advantages",
            "ratio.clamp(min=ceiling) * advantages",
        ),
        "the ceiling holds what is clipped only": (
            "torch.minimum(ratio.clamp(max=ceiling) * advantages, held * advantages)",
            "torch.minimum(ratio * advantages, held.clamp(max=ceiling) * advantages)",
        ),
        "the larger gain": ("return torch.minimum(ratio", "return torch.maximum(ratio"),
        "always clipped": (
            "torch.minimum(ratio.clamp(max=ceiling) * advantages, held * advantages)",
            "held * advantages",
        ),
        "never clipped": (
            "torch.minimum(ratio.clamp(max=ceiling) * advantages, held * advantages)",
            "ratio.clamp(max=ceiling) * advantages",
        ),
        # the means
        "padding in the mean of a response": (
            "(values.where(counts, 0).sum(-1) / counts.sum(-1)).mean()",
            "(values.sum(-1) / counts.sum(-1)).mean()",
        ),
        "a sum over each response": (
            "(values.where(counts, 0).sum(-1) / counts.sum(-1)).mean()",
            "values.where(counts, 0).sum(-1).mean()",
        ),
        "a response without a token": ("check_rows(counts)\n    return (values", "return (values"),
        "the token mean over responses": (
            "return masked_mean(values, counts)",
            "return (values.where(counts, 0).sum(-1) / counts.sum(-1)).mean()",
        ),
        "the constant is the longest of the batch": (
            "(len(values) * longest)",
            "(len(values) * values.shape[1])",
        ),
        "the constant without the responses": ("/ (len(values) * longest)", "/ longest"),
        "padding in the constant mean": (
            "values.where(counts, 0).sum() / (len",
            "values.sum() / (len",
        ),
        "a constant mean of any shapes": (
            "check_tables(counts, values=values)\n    return values",
            "return values",
        ),
        # the config
        "a config with groups of one": ('check_whole("size", self.size, least=2)', "pass"),
        "a config of any temperature": ('check_positive("temperature", self.temperature)', "pass"),
        "a config of any clip": (
            'for name in ("clip", "beta", "learning_rate"):',
            'for name in ("beta", "learning_rate"):',
        ),
        "a config of any beta": (
            'for name in ("clip", "beta", "learning_rate"):',
            'for name in ("clip", "learning_rate"):',
        ),
        "a config of any clip_high": ('check_from_0("clip_high", self.clip_high)', "pass"),
        "a config of any ceiling": ("if not self.ceiling > 1:", "if False:"),
        "a config with a ceiling of 1": ("if not self.ceiling > 1:", "if not self.ceiling >= 1:"),
        "a config with a ceiling of nan": ("if not self.ceiling > 1:", "if self.ceiling <= 1:"),
        "a config of any passes": (
            'for name in ("passes", "minibatch", "max_new_tokens"):',
            'for name in ("minibatch", "max_new_tokens"):',
        ),
        "DAPO over responses": (
            '"DAPO": GRPOConfig(aggregate=token_mean,',
            '"DAPO": GRPOConfig(aggregate=response_mean,',
        ),
        "Dr. GRPO standardised": (
            "GRPOConfig(advantages=centred, aggregate",
            "GRPOConfig(advantages=standardised, aggregate",
        ),
        "RLOO token by token": (
            "advantages=leave_one_out, whole_response=True",
            "advantages=leave_one_out",
        ),
        # rollout
        "prompts one after the other": (
            "[prompt for prompt in prompts for _ in range(config.size)]",
            "[prompt for _ in range(config.size) for prompt in prompts]",
        ),
        "one response to each prompt": (
            "[prompt for prompt in prompts for _ in range(config.size)]",
            "list(prompts)",
        ),
        "sampling at another temperature": ("temperature=config.temperature", "temperature=1.0"),
        "RLOO pays nothing": (
            "if config.whole_response:\n        earned",
            "if False:\n        earned",
        ),
        "all pay in the reward": (
            "if config.whole_response:\n        earned",
            "if True:\n        earned",
        ),
        "the penalty is earned": (
            "earned - config.beta * kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1)",
            "earned + config.beta * kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1)",
        ),
        "the penalty upside down": (
            "kl.k1(rollout.log_probs, rollout.ref_log_probs)",
            "kl.k1(rollout.ref_log_probs, rollout.log_probs)",
        ),
        "the penalty is k3": (
            "kl.k1(rollout.log_probs, rollout.ref_log_probs)",
            "kl.k3(rollout.log_probs, rollout.ref_log_probs)",
        ),
        "the penalty per token": (
            "kl.k1(rollout.log_probs, rollout.ref_log_probs).sum(-1)",
            "kl.k1(rollout.log_probs, rollout.ref_log_probs).mean(-1)",
        ),
        "the penalty without beta": ("earned - config.beta * kl.k1", "earned - kl.k1"),
        "advantages of the scores alone": (
            "config.advantages(earned, config.size)",
            "config.advantages(rollout.scores, config.size)",
        ),
        "always standardised": (
            "config.advantages(earned, config.size)",
            "standardised(earned, config.size)",
        ),
        # the loss
        "the update at another temperature": (
            "part.labels, config.temperature)",
            "part.labels, 1.0)",
        ),
        "other rows": (
            "part = rollout.select(rows)",
            "part = rollout.select(torch.arange(len(rows)))",
        ),
        "old log-probabilities recomputed": (
            "old, reference, counts = part.log_probs, part.ref_log_probs, part.counts",
            "old, reference, counts = now.detach(), part.ref_log_probs, part.counts",
        ),
        "the reference in the place of the old policy": (
            "old, reference, counts = part.log_probs, part.ref_log_probs, part.counts",
            "old, reference, counts = part.ref_log_probs, part.ref_log_probs, part.counts",
        ),
        "the old policy in the place of the reference": (
            "old, reference, counts = part.log_probs, part.ref_log_probs, part.counts",
            "old, reference, counts = part.log_probs, part.log_probs, part.counts",
        ),
        "a ratio for each token of RLOO": (
            "if config.whole_response: # a response is one action: a table with one column",
            "if False:",
        ),
        "RLOO's ratio is a mean": (
            "now, old = now.sum(-1, keepdim=True), old.sum(-1, keepdim=True)",
            "now, old = now.mean(-1, keepdim=True), old.mean(-1, keepdim=True)",
        ),
        "the ceiling is not handed on": ("ceiling=config.ceiling", "ceiling=math.inf"),
        "clip_high is not handed on": (
            "clip_high=config.clip_high,\n        ceiling",
            "clip_high=None,\n        ceiling",
        ),
        "no penalty": ("if config.beta and not config.whole_response:", "if False:"),
        "the penalty in the loss of RLOO too": (
            "gain = gain - config.beta * kl.k3(now, reference)",
            "gain = gain",
        ),
        "the penalty where beta is 0": (
            "if config.beta and not config.whole_response:",
            "if not config.whole_response:",
        ),
        "the penalty added": (
            "gain - config.beta * kl.k3(now, reference)",
            "gain + config.beta * kl.k3(now, reference)",
        ),
        "k3 upside down": ("kl.k3(now, reference)", "kl.k3(reference, now)"),
        "k1 in the loss": ("kl.k3(now, reference)", "kl.k1(now, reference)"),
        "k3 against the old policy": ("kl.k3(now, reference)", "kl.k3(now, old)"),
        "the penalty without a gradient": (
            "kl.k3(now, reference)",
            "kl.k3(now, reference).detach()",
        ),
        "the sign of the loss": ("loss = -config.aggregate(", "loss = config.aggregate("),
        "always a mean over responses": (
            "-config.aggregate(gain, counts, config.max_new_tokens)",
            "-response_mean(gain, counts, config.max_new_tokens)",
        ),
        "the constant is the minibatch's": (
            "config.aggregate(gain, counts, config.max_new_tokens)",
            "config.aggregate(gain, counts, gain.shape[1])",
        ),
        "clipped from above only is told": (
            "outside = (ratio < 1 - config.clip) | (ratio > 1 + high)",
            "outside = ratio > 1 + high",
        ),
        "what is clipped above told by the clip below": (
            "outside = (ratio < 1 - config.clip) | (ratio > 1 + high)",
            "outside = (ratio < 1 - config.clip) | (ratio > 1 + config.clip)",
        ),
        "tables of any shapes": (
            "check_shapes(log_probs=log_probs, old_log_probs=old_log_probs, advantages=advantages)",
            "pass",
        ),
        # update and loop
        "dropout in the update": (
            "with evaluating(policy):\n        minimize",
            "if True:\n        minimize",
        ),
        "minibatches of all": ("size=config.minibatch, passes", "size=len(rollout.ids), passes"),
        "one pass": ("passes=config.passes)", "passes=1)"),
        "the last metrics for the mean": (
            "{name: sum(step[name] for step in history) / len(history) for name in history[0]}",
            "history[-1]",
        ),
        "a flat group where two are equal": (
            "(groups == 0).all(-1)",
            "(groups[:, 1:] == 0).any(-1)",
        ),
        "the reference learns along": ("reference = reference_of(policy)", "reference = policy"),
        "a new reference at every step": (
            "for batch in prompts:\n",
            "for batch in prompts:\n        reference = reference_of(policy)\n",
        ),
        "a new optimizer at every step": (
            "for batch in prompts:\n",
            "for batch in prompts:\n        optimizer = adamw(policy.parameters(), config.learning_rate)\n",
        ),
        "a step yielded before its update": (
            "metrics = update(rollout, policy, optimizer, config) | rollouts.summary(rollout)",
            "metrics = {'loss': 0.0, 'clip_fraction': 0.0} | rollouts.summary(rollout)",
        ),
        "flat groups in pairs": (
            "flat_groups(rollout, config.size)}",
            "flat_groups(rollout, len(rollout.ids))}",
        ),
    },
    "distill.py": {
        "the divergence is the forward one": (
            "kl.full(student_logits[:, :-1], teacher_logits[:, :-1])",
            "kl.full(teacher_logits[:, :-1], student_logits[:, :-1])",
        ),
        "logits shifted by one": (
            "kl.full(student_logits[:, :-1], teacher_logits[:, :-1])",
            "kl.full(student_logits[:, 1:], teacher_logits[:, 1:])",
        ),
        "counts shifted by one": (
            "counts = labels[:, 1:] != IGNORE",
            "counts = labels[:, :-1] != IGNORE",
        ),
        "the prompt counts": (
            "counts = labels[:, 1:] != IGNORE",
            "counts = labels[:, 1:] >= IGNORE",
        ),
        "one estimate from the sampled token": (
            "kl.full(student_logits[:, :-1], teacher_logits[:, :-1])",
            "(student_logits[:, :-1].log_softmax(-1) - teacher_logits[:, :-1].log_softmax(-1)).gather(-1, labels[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)",
        ),
        "students of any shape": (
            'check_shape("student_logits", student_logits, *labels.shape, None)',
            "pass",
        ),
        "teachers of any shape": (
            'check_shape("teacher_logits", teacher_logits, *student_logits.shape)',
            "pass",
        ),
        "the forward divergence is the reverse one": (
            "return reverse_kl(teacher_logits, student_logits, labels)",
            "return reverse_kl(student_logits, teacher_logits, labels)",
        ),
        "cut responses are shown": (
            "for prompt, response, stopped in rows if stopped]",
            "for prompt, response, stopped in rows]",
        ),
        "whole responses are left out": ("in rows if stopped]", "in rows if not stopped]"),
        "demonstrations count the prompt": (
            "return [mask_prompt(prompt, response) for",
            "return [(prompt + response, prompt + response) for",
        ),
        "any teacher": ("check_teacher(student, teacher)\n    optimizer", "optimizer"),
        "the teacher's samples": (
            "drawn = rollouts.sample(\n            student, batch",
            "drawn = rollouts.sample(\n            teacher, batch",
        ),
        "the teacher learns": (
            "optimizer = adamw(student.parameters(), learning_rate)",
            "optimizer = adamw(teacher.parameters(), learning_rate)",
        ),
        "dropout in the teacher": (
            "with evaluating(student, teacher):",
            "with evaluating(student):",
        ),
        "dropout in the student": (
            "with evaluating(student, teacher):",
            "with evaluating(teacher):",
        ),
        "the teacher gets a gradient": (
            "with torch.no_grad():\n        aim",
            "if True:\n        aim",
        ),
        "the student teaches itself": (
            "aim = teacher(**inputs(teacher, ids, real)",
            "aim = student(**inputs(student, ids, real)",
        ),
        "training by the forward divergence": (
            "divergence: Divergence = reverse_kl,",
            "divergence: Divergence = forward_kl,",
        ),
        "the divergence asked for is not used": (
            "return divergence(student(**inputs",
            "return reverse_kl(student(**inputs",
        ),
        "samples of another length": (
            "student, batch, max_new_tokens=max_new_tokens",
            "student, batch, max_new_tokens=max_new_tokens + 1",
        ),
        "the first batch only": ("losses = minimize(", "losses = minimize("),
        "an optimizer for each step": (
            "for batch in prompts:\n",
            "for batch in prompts:\n        optimizer = adamw(student.parameters(), learning_rate)\n",
        ),
        "the length is a sum": (
            "sum(map(len, drawn.responses)) / len(batch)",
            "sum(map(len, drawn.responses))",
        ),
        "vocabularies one apart": ("if own != theirs:", "if own > theirs:"),
        "a smaller vocabulary will do": ("if own != theirs:", "if own < theirs:"),
    },
    "verifiers.py": {
        "a key of an object may come twice": ("if len(dict(pairs)) < len(pairs):", "if False:"),
        "the first of several objects counts": ("len(found) != 1 or", "not found or"),
        "NaN is JSON": ('raise ValueError(f"{constant} is no JSON")', "return None"),
        "an object may have more keys": (
            "found[0].keys() != set(keys)",
            "not found[0].keys() >= set(keys)",
        ),
        "prompt and response swapped": ("(decode(x), decode(y))", "(decode(y), decode(x))"),
        "the verifier reads token ids": ("(decode(x), decode(y))", "(decode(x), y)"),
        "prompts and responses of any number": ("strict=True", "strict=False"),
        "whatever the verifier raises": (
            "except Exception as error:",
            "except ZeroDivisionError as error:",
        ),
        "interruptions are errors": (
            "except Exception as error:",
            "except BaseException as error:",
        ),
        "a verifier that raises gives 0": (
            'raise ValueError(\n            f"the verifier raised',
            'return 0.0\n        raise ValueError(\n            f"the verifier raised',
        ),
        "the cause is lost": (") from error", ") from None"),
        "a text is a number": ("None if isinstance(worth, str) else worth", "worth"),
        "what is no number is 0": (
            'raise TypeError(\n            f"the verifier returned',
            'return 0.0\n        raise TypeError(\n            f"the verifier returned',
        ),
        "numbers that are not finite": ("if not math.isfinite(worth):", "if False:"),
        "infinity will do": ("if not math.isfinite(worth):", "if math.isnan(worth):"),
        "the total without a stop token": (
            'response.split() == [*str(total), "<eos>"]',
            "response.split()[: len(str(total))] == [*str(total)]",
        ),
        "the total in one word": (
            'response.split() == [*str(total), "<eos>"]',
            '"".join(response.split()) == str(total) + "<eos>"',
        ),
        "the total somewhere in the response": (
            'response.split() == [*str(total), "<eos>"]',
            '" ".join(str(total)) + " <eos>" in response',
        ),
        "the difference": (
            'int("".join(left.split())) + int(',
            'int("".join(left.split())) - int(',
        ),
        "a prompt that cannot be read raises": (
            "except ValueError:\n        return 0.0",
            "except KeyError:\n        return 0.0",
        ),
        "a prompt that cannot be read is worth 1": (
            "except ValueError:\n        return 0.0",
            "except ValueError:\n        return 1.0",
        ),
    },
    "reference.py": {
        "layers without the active adapter count": ("if layer.active in layer.configs]", "]"),
        "a merged adapter is fresh": ("not layer.merged and not layer.B", "not layer.B"),
        "an adapter that has learned is switched off": (
            "not layer.merged and not layer.B[layer.active].any()",
            "not layer.merged",
        ),
        "one fresh layer is enough": ("fresh = all(", "fresh = any("),
        "A in the place of B": (
            "not layer.B[layer.active].any()",
            "not layer.A[layer.active].any()",
        ),
        "all numbers have to have learned": (
            "not layer.B[layer.active].any()",
            "not layer.B[layer.active].all()",
        ),
        "what trains beside the adapter": (
            "if adapted and fresh and alone:",
            "if adapted and fresh:",
        ),
        "always a copy": ("if adapted and fresh and alone:", "if False:"),
        "a full model has an adapter to switch off": (
            "if adapted and fresh and alone:",
            "if fresh and (alone or not adapted):",
        ),
        "the policy itself": (
            "return copy.deepcopy(policy).requires_grad_(False)",
            "return policy",
        ),
        "the copy trains": (
            "return copy.deepcopy(policy).requires_grad_(False)",
            "return copy.deepcopy(policy)",
        ),
        "the policy freezes": (
            "return copy.deepcopy(policy).requires_grad_(False)",
            "return copy.deepcopy(policy.requires_grad_(False))",
        ),
        "a shallow copy": ("return copy.deepcopy(policy)", "return copy.copy(policy)"),
        "a copy to switch off": (
            "return AdapterOff(policy)",
            "return AdapterOff(copy.deepcopy(policy))",
        ),
        "the adapter stays on": (
            "with torch.no_grad(), adapter_off(self.policy):",
            "with torch.no_grad():",
        ),
        "the reference has a gradient": (
            "with torch.no_grad(), adapter_off(self.policy):",
            "with adapter_off(self.policy):",
        ),
        "nothing is known of the model below": ("return self.policy.config", "return None"),
        "nothing is known of its vocabulary": (
            "return self.policy.get_input_embeddings()",
            "return None",
        ),
        "the wrapper's own arguments": (
            'as the wrappers of the library PEFT name it."""\n        return self.policy',
            'as the wrappers of the library PEFT name it."""\n        return self',
        ),
        "the logits of the policy": (
            "with adapter_off(policy):\n        return policy(",
            "if True:\n        return policy(",
        ),
        "the logits with a gradient": (
            "@torch.no_grad()\ndef reference_logits",
            "def reference_logits",
        ),
        "an adapter is not switched off": ("layer.active = None\n", "pass\n"),
        "only some adapters are switched off": (
            "for layer in active:\n        layer.active = None",
            "for layer in list(active)[1:]:\n        layer.active = None",
        ),
        "the adapter is lost after an error": (
            "try:\n        yield\n    finally:\n        for layer, name in active.items():\n            layer.active = name",
            "yield\n    for layer, name in active.items():\n        layer.active = name",
        ),
        "one adapter for all layers": (
            "layer.active = name",
            "layer.active = next(iter(active.values()))",
        ),
        "lora's own switch, which freezes": (
            "for layer in active:\n        layer.active = None",
            "lora.activate(policy, None)",
        ),
        "adapters by their first": (
            "{layer: layer.active for layer in lora.layers(policy).values()}",
            "{layer: next(iter(layer.configs)) for layer in lora.layers(policy).values()}",
        ),
    },
}
FAULTS["distill.py"].pop("the first batch only")
FAULTS["grpo.py"]["the penalty in the loss of RLOO too"] = (
    "if config.beta and not config.whole_response:",
    "if config.beta:",
)
