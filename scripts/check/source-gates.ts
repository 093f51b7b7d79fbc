/**
 * Gates that read the source text, most of them through the TypeScript parser, so that a word in a string is not taken for
 * a keyword. They need no type information.
 */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import ts from 'typescript';
import type { Gate, GateContext } from './gate.ts';

const MAX_LINES = 500;
/** Files of constants only, where length says nothing about complexity. */
const CONSTANT_TABLES = new Set(['src/openflow/ofp13.ts']);
const BANNED_NAMES = new Set([
  'utils',
  'util',
  'helpers',
  'helper',
  'common',
  'misc',
  'manager',
  'types',
]);
const BANNED_COMMENT = /\b(TODO|FIXME|XXX|HACK)\b|@ts-(ignore|nocheck|expect-error)/;

interface Source {
  readonly file: string;
  readonly text: string;
  readonly tree: ts.SourceFile;
}

function listFiles(root: string, pattern: string): string[] {
  return globSync(pattern, {
    cwd: root,
    exclude: ['**/node_modules/**', 'test/gates/planted/**'],
  }).sort();
}

/** The sources under src/. An empty list would make every gate pass, so it is an error. */
function readSources({ root, moduleFloor }: GateContext): Source[] {
  const files = listFiles(root, 'src/**/*.ts');
  if (files.length < moduleFloor) {
    throw new Error(`only ${files.length} files under src/, fewer than ${moduleFloor}`);
  }
  return files.map((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    return { file, text, tree: ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true) };
  });
}

function place({ file, tree }: Source, position: number): string {
  return `${file}:${tree.getLineAndCharacterOfPosition(position).line + 1}`;
}

function walk(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  ts.forEachChild(node, (child) => walk(child, visit));
}

/** A gate that looks at one file of src/ after the other. */
function sourceGate(name: string, holds: string, look: (source: Source) => string[]): Gate {
  return { name, holds, run: async (context) => readSources(context).flatMap(look) };
}

const length = sourceGate(
  'length',
  `no file of src/ is longer than ${MAX_LINES} lines`,
  ({ file, text }) => {
    const count = text.trimEnd().split('\n').length;
    return count <= MAX_LINES || CONSTANT_TABLES.has(file) ? [] : [`${file}: ${count} lines`];
  },
);

const names: Gate = {
  name: 'names',
  holds: 'files are kebab-case nouns, none of them utils, helpers, common, misc, manager or types',
  async run({ root }) {
    const files = listFiles(root, '{src,test,scripts,demo,bench}/**/*.ts');
    if (files.length === 0) return ['no TypeScript file was found'];
    return files.flatMap((file) => {
      const stem = basename(file).replace(/(\.test|\.d)?\.ts$/, '');
      if (BANNED_NAMES.has(stem)) return [`${file}: banned name`];
      return /^[a-z0-9]+(-[a-z0-9]+)*$/.test(stem) ? [] : [`${file}: not kebab-case`];
    });
  },
};

const processes = sourceGate('processes', 'nothing in src/ starts a process', (source) => {
  const found: string[] = [];
  walk(source.tree, (node) => {
    if (ts.isStringLiteralLike(node) && /^(node:)?child_process$/.test(node.text)) {
      found.push(`${place(source, node.getStart())}: child_process`);
    }
  });
  return found;
});

function commentsOf({ text, tree }: Source): { position: number; text: string }[] {
  const seen = new Map<number, string>();
  walk(tree, (node) => {
    for (const range of [
      ...(ts.getLeadingCommentRanges(text, node.getFullStart()) ?? []),
      ...(ts.getTrailingCommentRanges(text, node.getEnd()) ?? []),
    ]) {
      seen.set(range.pos, text.slice(range.pos, range.end));
    }
  });
  return [...seen].map(([position, comment]) => ({ position, text: comment }));
}

const words = sourceGate(
  'words',
  'src/ has no any, no double cast, no ts-ignore and no TODO',
  (source) => {
    const found = commentsOf(source).flatMap(({ position, text }) => {
      const word = BANNED_COMMENT.exec(text)?.[0];
      return word === undefined ? [] : [`${place(source, position)}: ${word}`];
    });
    walk(source.tree, (node) => {
      if (node.kind === ts.SyntaxKind.AnyKeyword)
        found.push(`${place(source, node.getStart())}: any`);
      if (
        ts.isAsExpression(node) &&
        ts.isAsExpression(node.expression) &&
        node.expression.type.kind === ts.SyntaxKind.UnknownKeyword
      ) {
        found.push(`${place(source, node.getStart())}: as unknown as`);
      }
    });
    return found;
  },
);

function isExported(statement: ts.Statement): boolean {
  return (
    ts.canHaveModifiers(statement) &&
    (ts
      .getModifiers(statement)
      ?.some((modifier) => modifier.kind === ts.SyntaxKind.ExportKeyword) ??
      false)
  );
}

/** The symbols that a statement declares: what `export { a }` further down may name. */
function declaredNames(statement: ts.Statement): string[] {
  if (ts.isVariableStatement(statement)) {
    return statement.declarationList.declarations.map((declaration) => declaration.name.getText());
  }
  const name = (statement as ts.Statement & { name?: ts.Node }).name;
  return name !== undefined && ts.isIdentifier(name) ? [name.text] : [];
}

const documented = sourceGate(
  'documented',
  'each file of src/ opens with a comment, and each exported symbol has a TSDoc sentence',
  (source) => {
    const { file, text, tree } = source;
    const found: string[] = [];
    // A program's first line may be its interpreter.
    const body = text.replace(/^#!.*\n/, '');
    if (!/^\s*(\/\*|\/\/)/.test(body)) found.push(`${file}:1: does not open with a comment`);
    const listed = new Set(
      tree.statements
        .filter(ts.isExportDeclaration)
        .filter((statement) => statement.moduleSpecifier === undefined)
        .flatMap(({ exportClause }) =>
          exportClause !== undefined && ts.isNamedExports(exportClause)
            ? exportClause.elements.map((element) => (element.propertyName ?? element.name).text)
            : [],
        ),
    );
    // An overloaded function is documented at its first signature.
    const done = new Set<string>();
    tree.statements.forEach((statement, index) => {
      if (ts.isImportDeclaration(statement) || ts.isExportDeclaration(statement)) return;
      const declared = declaredNames(statement);
      if (!isExported(statement) && !declared.some((name) => listed.has(name))) return;
      if (declared.length > 0 && declared.every((name) => done.has(name))) return;
      declared.forEach((name) => done.add(name));
      const comments = (ts.getLeadingCommentRanges(text, statement.getFullStart()) ?? []).filter(
        (range) => text.startsWith('/**', range.pos),
      );
      // Without an import between them, the file's own comment precedes the first statement as well: that one needs two.
      const needed = index === 0 && /^\s*\/\*\*/.test(body) ? 2 : 1;
      if (comments.length < needed) {
        found.push(
          `${place(source, statement.getStart())}: ${declared.join(', ') || 'default'} has no TSDoc comment`,
        );
      }
    });
    return found;
  },
);

/** In the order in which they are shown. */
export const SOURCE_GATES: readonly Gate[] = [length, names, processes, words, documented];
