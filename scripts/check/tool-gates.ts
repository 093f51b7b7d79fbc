/**
 * Gates that are other people's tools: each runs as a process of its own in the tree's root, and what it prints becomes the
 * list of violations. A tool that fails without a word is a violation as well.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Gate } from './gate.ts';

interface Output {
  readonly status: number | string;
  readonly stdout: string;
  readonly stderr: string;
}

function runTool(root: string, bin: string, args: readonly string[]): Promise<Output> {
  return new Promise((resolve) => {
    const tool = spawn(join(root, 'node_modules/.bin', bin), args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, NO_COLOR: '1', FORCE_COLOR: '0' },
    });
    let stdout = '';
    let stderr = '';
    tool.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    tool.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    tool.on('error', (error) => resolve({ status: error.message, stdout, stderr }));
    tool.on('close', (code, signal) => resolve({ status: code ?? signal ?? '?', stdout, stderr }));
  });
}

function lines(text: string): string[] {
  return text.split('\n').filter((line) => line.trim() !== '');
}

/** A gate that holds when the tool ends with status 0, and else shows what the tool printed. */
function toolGate(name: string, holds: string, bin: string, args: readonly string[]): Gate {
  return {
    name,
    holds,
    async run({ root }) {
      const { status, stdout, stderr } = await runTool(root, bin, args);
      if (status === 0) return [];
      const printed = lines(`${stdout}\n${stderr}`);
      return printed.length > 0 ? printed : [`${bin} ended with ${status} and printed nothing`];
    },
  };
}

interface CruiseViolation {
  readonly from: string;
  readonly to: string;
  readonly rule: { readonly name: string };
}
interface CruiseResult {
  readonly summary: {
    readonly totalCruised: number;
    readonly violations: readonly CruiseViolation[];
  };
}

/**
 * The walls between layers. dependency-cruiser prints "no violations" also when it saw no module at all (it did so with a
 * TypeScript that it cannot use), hence the floor.
 */
const layers: Gate = {
  name: 'layers',
  holds: 'src/ keeps to the walls of .dependency-cruiser.mjs, and all of it was looked at',
  async run({ root, moduleFloor }) {
    const { status, stdout, stderr } = await runTool(root, 'depcruise', ['src', '-T', 'json']);
    let result: CruiseResult;
    try {
      result = JSON.parse(stdout) as CruiseResult;
    } catch {
      return [`depcruise ended with ${status} and no JSON`, ...lines(stderr)];
    }
    const { totalCruised, violations } = result.summary;
    const problems = violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
    if (totalCruised < moduleFloor) {
      problems.push(`only ${totalCruised} modules were looked at, fewer than ${moduleFloor}`);
    }
    return problems;
  },
};

const generated: Gate = {
  name: 'generated',
  holds: 'what scripts/generate.ts writes is what is checked in',
  async run({ root }) {
    const script = 'scripts/generate.ts';
    const manifest = readFileSync(join(root, 'package.json'), 'utf8');
    if (!existsSync(join(root, script))) {
      return manifest.includes(script)
        ? [`package.json names ${script}, which does not exist`]
        : [];
    }
    const { status, stdout, stderr } = await runTool(root, 'node', [script, '--check']);
    if (status === 0) return [];
    return [`${script} --check ended with ${status}`, ...lines(`${stdout}\n${stderr}`)];
  },
};

/** In the order in which they are shown; the slow ones first, so that they overlap. */
export const TOOL_GATES: readonly Gate[] = [
  toolGate('lint', 'eslint, with type information', 'eslint', ['.', '--max-warnings', '0']),
  toolGate('types', 'tsc --noEmit, strict', 'tsc', ['--noEmit', '--pretty', 'false']),
  layers,
  toolGate('unused', 'knip: no unused file, export or dependency', 'knip', ['--no-progress']),
  toolGate('format', 'prettier --check', 'prettier', ['--check', '--log-level', 'warn', '.']),
  generated,
];
